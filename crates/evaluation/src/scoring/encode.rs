use model_zoo::{GenerationConfig, TextTokenizer};

use super::{ScoringError, TokenRequest};

/// Turns the texts of requests into tokens, as the LM evaluation harness does.
///
/// The tokenizer adds its special tokens as it is configured to, but none to a text that already
/// starts with the prefix token. Source: lm_eval 0.4.13, `HFLM.tok_encode` and
/// `TemplateLM._encode_pair`.
#[derive(Debug, Clone)]
pub struct PromptEncoder<'a> {
    tokenizer: &'a TextTokenizer,
    prefix: u32,
    prefix_text: String,
    add_bos_token: Option<bool>,
}

impl<'a> PromptEncoder<'a> {
    /// An encoder of requests; `add_bos_token` decides whether the tokenizer adds its special
    /// tokens, `None` leaves it to the tokenizer.
    ///
    /// # Errors
    ///
    /// [`ScoringError`] when the tokenizer has neither a `bos_token` nor an `eos_token`.
    pub fn new(
        tokenizer: &'a TextTokenizer,
        add_bos_token: Option<bool>,
    ) -> Result<Self, ScoringError> {
        let prefix = tokenizer.bos_token_id().or(tokenizer.eos_token_id());
        let prefix = prefix.ok_or(ScoringError::NoPrefixToken)?;
        let prefix_text = tokenizer.decode(&[prefix], false)?;
        Ok(Self { tokenizer, prefix, prefix_text, add_bos_token })
    }

    /// The token before the first of a text: `bos_token`, else `eos_token`.
    pub fn prefix_token_id(&self) -> u32 {
        self.prefix
    }

    /// The tokens of a text.
    ///
    /// # Errors
    ///
    /// [`ScoringError::Tokenizer`] when the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ScoringError> {
        let starts = !self.prefix_text.is_empty() && text.starts_with(&self.prefix_text);
        let special = !starts && self.add_bos_token.unwrap_or(true);
        Ok(self.tokenizer.encode(text, special)?)
    }

    /// A request for the log-likelihood of a continuation.
    ///
    /// White space at the end of the context goes to the continuation. The continuation's tokens
    /// are what the tokens of both texts together have beyond as many as the context alone has. An
    /// empty context is the prefix token, or the continuation's own where it starts with it.
    ///
    /// # Errors
    ///
    /// [`ScoringError::Tokenizer`] when the tokenizer fails.
    pub fn log_likelihood(
        &self,
        context: &str,
        continuation: &str,
    ) -> Result<TokenRequest, ScoringError> {
        if context.is_empty() {
            let mut continuation = self.tokenizer.encode(continuation, false)?;
            let context = match continuation.first() {
                Some(first) if *first == self.prefix => vec![continuation.remove(0)],
                _ => vec![self.prefix],
            };
            return Ok(TokenRequest::LogLikelihood { context, continuation });
        }
        // Python counts these separators as white space too.
        let space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
        let whole = self.encode(&format!("{context}{continuation}"))?;
        let context = self.encode(context.trim_end_matches(space))?;
        let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
        Ok(TokenRequest::LogLikelihood { context, continuation })
    }

    /// A request for the log-likelihood of a whole text.
    ///
    /// # Errors
    ///
    /// [`ScoringError::Tokenizer`] when the tokenizer fails.
    pub fn log_likelihood_rolling(&self, text: &str) -> Result<TokenRequest, ScoringError> {
        let tokens = self.encode(text)?;
        Ok(TokenRequest::LogLikelihoodRolling { prefix: self.prefix, tokens })
    }

    /// A request for a text that continues a prompt. The text of the `eos_token` stops it too.
    ///
    /// # Errors
    ///
    /// [`ScoringError::Tokenizer`] when the tokenizer fails.
    pub fn generate_until(
        &self,
        prompt: &str,
        mut generation: GenerationConfig,
    ) -> Result<TokenRequest, ScoringError> {
        if let Some(eos) = self.tokenizer.eos_token_id() {
            let eos = self.tokenizer.decode(&[eos], false)?;
            if !eos.is_empty() && !generation.stop.contains(&eos) {
                generation.stop.push(eos);
            }
        }
        Ok(TokenRequest::GenerateUntil { prompt: self.encode(prompt)?, generation })
    }
}
