use super::{GenerationConfig, GenerationError};
use crate::engine::{EngineConfig, Event, Request, run_here};
use crate::{CausalLm, TextTokenizer};

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended the sequence.
    Eos,
    /// `max_new_tokens` were generated.
    Length,
    /// A stop text appeared.
    Stop,
}

/// What was generated for one prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The new text, without stop text.
    pub text: String,
    /// The new tokens, without the one that ends the sequence.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub finish_reason: FinishReason,
}

/// Continues one prompt.
///
/// `on_text` receives the text as it comes: whole characters, and never a part of a stop text.
/// Pass a model outside of autodiff (`model.valid()`), or every step keeps its graph.
///
/// # Errors
///
/// [`GenerationError`] when the configuration cannot work, the prompt is empty or not of the
/// model's vocabulary, or the model's scores are not numbers.
pub fn generate<M: CausalLm>(
    model: &M,
    tokenizer: &TextTokenizer,
    prompt: &[u32],
    config: &GenerationConfig,
    mut on_text: impl FnMut(&str),
) -> Result<Generation, GenerationError> {
    config.check()?;
    check_prompt(model, 0, prompt)?;
    let generation = config.clone();
    let request = Request { prompt: prompt.to_vec(), generation, ..Request::default() };
    // The prompt in one piece: nothing else waits.
    let config = EngineConfig {
        prompt_tokens: usize::MAX,
        cache_tokens: prompt.len().saturating_add(config.max_new_tokens),
        share_prefixes: false,
        ..EngineConfig::default()
    };
    let mut made = Generation {
        text: String::new(),
        token_ids: Vec::new(),
        finish_reason: FinishReason::Length,
    };
    let mut emit = |made: &mut Generation, part: &str| {
        if !part.is_empty() {
            on_text(part);
            made.text.push_str(part);
        }
    };
    run_here(model, Some(tokenizer), config, vec![request], &mut |_, event| {
        match event {
            Event::Token(new) => {
                made.token_ids.push(new.token);
                emit(&mut made, &new.text);
            }
            Event::Done { reason, text, .. } => {
                made.finish_reason = reason;
                emit(&mut made, &text);
            }
            Event::Failed(error) => return Err(GenerationError::from(error)),
            Event::Prompt(_) => {}
        }
        Ok(())
    })?;
    if made.finish_reason == FinishReason::Eos {
        made.token_ids.pop();
    }
    Ok(made)
}

/// Refuses prompts that would crash a model or give nonsense.
pub(super) fn check_prompt<M: CausalLm>(
    model: &M,
    index: usize,
    prompt: &[u32],
) -> Result<(), GenerationError> {
    let vocab_size = model.vocab_size();
    if prompt.is_empty() {
        return Err(GenerationError::EmptyPrompt { index });
    }
    match prompt.iter().find(|token| **token as usize >= vocab_size) {
        Some(&token) => Err(GenerationError::TokenOutOfRange { index, token, vocab_size }),
        None => Ok(()),
    }
}
