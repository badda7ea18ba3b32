use crate::{TextTokenizer, TokenizerError};

/// Tokens of context that are decoded again with each new one: what a token reads as may depend on
/// those before it.
const CONTEXT: usize = 6;

/// Turns tokens into text one by one; only whole characters come out.
#[derive(Debug, Clone)]
pub struct TextStream<'a> {
    tokenizer: &'a TextTokenizer,
    /// Context, and then the tokens from `done` on whose text has not come out.
    tokens: Vec<u32>,
    done: usize,
}

impl<'a> TextStream<'a> {
    /// A stream that continues `prompt`.
    pub fn new(tokenizer: &'a TextTokenizer, prompt: &[u32]) -> Self {
        let tokens = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        Self { tokenizer, done: tokens.len(), tokens }
    }

    /// The text that one more token completes.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the tokenizer fails.
    pub fn push(&mut self, token: u32) -> Result<String, TokenizerError> {
        self.tokens.push(token);
        let (known, all) = self.decoded()?;
        // The tokens of a character that is not complete read as the replacement character.
        if all.ends_with('\u{fffd}') {
            return Ok(String::new());
        }
        let text = new_text(&known, &all);
        self.done = self.tokens.len();
        let old = self.done.saturating_sub(CONTEXT);
        self.tokens.drain(..old);
        self.done -= old;
        Ok(text)
    }

    /// The text of tokens that never became a whole character.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the tokenizer fails.
    pub fn finish(&mut self) -> Result<String, TokenizerError> {
        let (known, all) = self.decoded()?;
        self.done = self.tokens.len();
        Ok(new_text(&known, &all))
    }

    fn decoded(&self) -> Result<(String, String), TokenizerError> {
        let known = self.tokenizer.decode(&self.tokens[..self.done], true)?;
        Ok((known, self.tokenizer.decode(&self.tokens, true)?))
    }
}

fn new_text(known: &str, all: &str) -> String {
    // Where the context ends inside a character, its text changes with the next token.
    let mut shared = known.len().min(all.len());
    if !all.starts_with(known) {
        shared = known.bytes().zip(all.bytes()).take_while(|(a, b)| a == b).count();
        while !all.is_char_boundary(shared) {
            shared -= 1;
        }
    }
    all[shared..].to_owned()
}
