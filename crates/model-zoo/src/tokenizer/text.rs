use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use tokenizers::{AddedToken, Tokenizer, TruncationParams};

use super::chat::{ChatMessage, ChatTemplate, TemplateInput};
use super::error::TokenizerError;
use super::marks::MarkedChat;

/// Turns text into tokens and back, with the special tokens and the chat template of a model.
#[derive(Debug, Clone)]
pub struct TextTokenizer {
    pub(super) tokenizer: Tokenizer,
    pub(super) bos: Option<SpecialToken>,
    pub(super) eos: Option<SpecialToken>,
    pub(super) pad: Option<SpecialToken>,
    pub(super) chat_template: Option<ChatTemplate>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SpecialToken {
    pub(super) text: String,
    pub(super) id: u32,
}

impl TextTokenizer {
    /// Wraps a tokenizer made in memory.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownToken`] when a special token is not in its vocabulary.
    pub fn from_tokenizer(
        mut tokenizer: Tokenizer,
        bos: Option<&str>,
        eos: Option<&str>,
        pad: Option<&str>,
    ) -> Result<Self, TokenizerError> {
        // Padding and truncation belong to batches, whose shape the caller decides.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(failed)?;
        let special = |role, token: Option<&str>| match token {
            None => Ok(None),
            Some(text) => match tokenizer.token_to_id(text) {
                Some(id) => Ok(Some(SpecialToken { text: text.to_owned(), id })),
                None => Err(TokenizerError::UnknownToken { role, token: text.to_owned() }),
            },
        };
        Ok(Self {
            bos: special("bos_token", bos)?,
            eos: special("eos_token", eos)?,
            pad: special("pad_token", pad)?,
            chat_template: None,
            tokenizer,
        })
    }

    /// Sets the chat template, a Jinja template as in `tokenizer_config.json`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::ChatTemplate`] when it is not valid Jinja.
    pub fn with_chat_template(mut self, template: &str) -> Result<Self, TokenizerError> {
        self.chat_template = Some(ChatTemplate::new(template)?);
        Ok(self)
    }

    /// Sets how many words each thread that encodes remembers with their tokens; 0 for none. Default:
    /// the 10,000 of tokenizers, which take tens of MB a thread where a whole text is one word, as
    /// for Llama 2.
    #[must_use]
    pub fn with_cached_words(mut self, words: usize) -> Self {
        let mut model = self.tokenizer.get_model().clone();
        model.resize_cache(words);
        self.tokenizer.with_model(model);
        self
    }

    /// Adds special tokens, each of which is one token wherever it stands in a text; those that
    /// are there already stay as they are. Returns how many are new.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::EmptyToken`] for a token without a character.
    pub fn add_special_tokens(&mut self, tokens: &[String]) -> Result<usize, TokenizerError> {
        if tokens.iter().any(|token| token.trim().is_empty()) {
            return Err(TokenizerError::EmptyToken);
        }
        let added: Vec<_> = tokens.iter().map(|token| AddedToken::from(token, true)).collect();
        let before = self.vocab_size();
        self.tokenizer.add_special_tokens(added).map_err(failed)?;
        Ok(self.vocab_size() - before)
    }

    /// The tokens of a text; with `add_special_tokens`, between those that the model expects at
    /// its start and end.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the tokenizer fails.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding = guarded(|| self.tokenizer.encode_fast(text, add_special_tokens))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of a text, or of a pair as the model expects one, with special tokens.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the tokenizer fails.
    pub fn encode_pair(&self, text: &str, pair: Option<&str>) -> Result<Vec<u32>, TokenizerError> {
        let encoding = guarded(|| match pair {
            Some(pair) => self.tokenizer.encode_fast((text, pair), true),
            None => self.tokenizer.encode_fast(text, true),
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The same, but that cuts sequences to `max_length` tokens, special ones included: tokens at
    /// the end are dropped, of the longer text of a pair first (`longest_first`).
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the tokenizer cannot cut so.
    pub fn with_truncation(mut self, max_length: usize) -> Result<Self, TokenizerError> {
        let truncation = TruncationParams { max_length, ..Default::default() };
        self.tokenizer.with_truncation(Some(truncation)).map_err(failed)?;
        Ok(self)
    }

    /// As [`encode`](Self::encode), with the bytes of the text that each token stands for (an
    /// empty range for special tokens).
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the tokenizer fails.
    pub fn encode_with_offsets(
        &self,
        text: &str,
        add_special_tokens: bool,
    ) -> Result<Vec<(u32, Range<usize>)>, TokenizerError> {
        let encoding = guarded(|| self.tokenizer.encode(text, add_special_tokens))?;
        let offsets = encoding.get_offsets().iter().map(|(start, end)| *start..*end);
        Ok(encoding.get_ids().iter().copied().zip(offsets).collect())
    }

    /// The text of tokens.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Text`] when the tokenizer fails.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String, TokenizerError> {
        guarded(|| self.tokenizer.decode(ids, skip_special_tokens))
    }

    /// The token that starts a sequence.
    pub fn bos_token_id(&self) -> Option<u32> {
        self.bos.as_ref().map(|token| token.id)
    }

    /// The token that ends a sequence.
    pub fn eos_token_id(&self) -> Option<u32> {
        self.eos.as_ref().map(|token| token.id)
    }

    /// The token of padding.
    pub fn pad_token_id(&self) -> Option<u32> {
        self.pad.as_ref().map(|token| token.id)
    }

    /// The token of a text that the vocabulary has as one, added ones included.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// Whether a token is special: one that stands for no text.
    pub fn is_special(&self, id: u32) -> bool {
        self.tokenizer
            .get_added_vocabulary()
            .get_added_tokens_decoder()
            .get(&id)
            .is_some_and(|token| token.special)
    }

    /// The number of tokens, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The tokenizer underneath.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Whether conversations can be formatted.
    pub fn has_chat_template(&self) -> bool {
        self.chat_template.is_some()
    }

    /// Formats a conversation as the model was trained on it; with `add_generation_prompt`, up to
    /// where the assistant answers. The text contains its special tokens: encode it without adding
    /// others.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when the model has no template, or the template refuses the messages.
    pub fn apply_chat_template(
        &self,
        messages: &[ChatMessage],
        add_generation_prompt: bool,
    ) -> Result<String, TokenizerError> {
        self.render_chat(messages, None::<&[()]>, add_generation_prompt)
    }

    /// As [`apply_chat_template`](Self::apply_chat_template), for messages with whatever keys a
    /// template knows (`tool_calls`, `reasoning_content` …), and with the tools that the model may
    /// call: objects, whose keys come in the order in which they are serialised.
    ///
    /// # Errors
    ///
    /// As [`apply_chat_template`](Self::apply_chat_template).
    pub fn render_chat<M: Serialize, T: Serialize>(
        &self,
        messages: &[M],
        tools: Option<&[T]>,
        add_generation_prompt: bool,
    ) -> Result<String, TokenizerError> {
        self.template()?.render(&self.input(messages, tools, add_generation_prompt))
    }

    /// Formats a conversation, and tells which bytes of the text the template marks as the
    /// assistant's by `{% generation %}` to `{% endgeneration %}`, as transformers'
    /// `return_assistant_tokens_mask` does; `None` for a template that marks nothing.
    ///
    /// # Errors
    ///
    /// As [`apply_chat_template`](Self::apply_chat_template).
    pub fn render_marked_chat<M: Serialize, T: Serialize>(
        &self,
        messages: &[M],
        tools: Option<&[T]>,
    ) -> Result<Option<MarkedChat>, TokenizerError> {
        self.template()?.render_marked(&self.input(messages, tools, false))
    }

    fn template(&self) -> Result<&ChatTemplate, TokenizerError> {
        self.chat_template.as_ref().ok_or(TokenizerError::NoChatTemplate)
    }

    fn input<M: Serialize, T: Serialize>(
        &self,
        messages: &[M],
        tools: Option<&[T]>,
        add_generation_prompt: bool,
    ) -> TemplateInput {
        let text = |token: &Option<SpecialToken>| token.as_ref().map(|token| token.text.clone());
        let mut input = TemplateInput::new(messages, tools, add_generation_prompt);
        input.bos_token = text(&self.bos);
        input.eos_token = text(&self.eos);
        input.pad_token = text(&self.pad);
        input
    }
}

/// Runs the tokenizer. A `tokenizer.json` can hold what its parser accepts and its parts panic on,
/// as a decoder with an empty pattern; no state is left half-changed, as nothing is changed.
pub(super) fn guarded<T>(
    run: impl FnOnce() -> Result<T, tokenizers::Error>,
) -> Result<T, TokenizerError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(result) => result.map_err(failed),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said =
                said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
            let message = format!("tokenizer.json holds what the tokenizer fails on: {said}");
            Err(TokenizerError::Text { message })
        }
    }
}

fn failed(error: tokenizers::Error) -> TokenizerError {
    TokenizerError::Text { message: error.to_string() }
}
