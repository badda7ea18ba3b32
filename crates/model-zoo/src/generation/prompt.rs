use burn::tensor::{DType, Int, Tensor, TensorData};
use router::RoutingTape;

use super::sampler::Sampler;
use super::stop::StopMatcher;
use super::stream::TextStream;
use super::{GenerationConfig, GenerationError};
use crate::{CausalLm, KvCache, TextTokenizer, TokenInput};

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
    let eos = match config.eos_token_ids.as_slice() {
        [] => model.eos_token_ids(),
        given => given,
    };
    let mut sampler = Sampler::new(config);
    let mut stops = StopMatcher::new(&config.stop);
    let mut stream = TextStream::new(tokenizer, prompt);
    let mut cache = model.new_cache();
    let mut history = prompt.to_vec();
    let mut text = String::new();
    let mut emit = |part: String| {
        if !part.is_empty() {
            on_text(&part);
            text.push_str(&part);
        }
    };
    let mut seen = 0;
    let finish_reason = loop {
        if history.len() - prompt.len() == config.max_new_tokens {
            break FinishReason::Length;
        }
        if model.length_dependence().is_some_and(|d| d.restarts_at(seen, history.len())) {
            (cache, seen) = (model.new_cache(), 0);
        }
        let logits = next_logits(model, &history[seen..], &mut cache);
        seen = history.len();
        let token = sampler
            .next(logits, &history)
            .ok_or(GenerationError::NotFinite { position: history.len() })?;
        if eos.contains(&token) {
            break FinishReason::Eos;
        }
        history.push(token);
        let (part, stopped) = stops.push(&stream.push(token)?);
        emit(part);
        if stopped {
            break FinishReason::Stop;
        }
    };
    let finish_reason = if finish_reason == FinishReason::Stop {
        finish_reason
    } else {
        let (part, stopped) = stops.push(&stream.finish()?);
        emit(part);
        if stopped {
            FinishReason::Stop
        } else {
            emit(stops.finish());
            finish_reason
        }
    };
    Ok(Generation { text, token_ids: history.split_off(prompt.len()), finish_reason })
}

/// Scores after the last of `tokens`, which follow those in the cache.
fn next_logits<M: CausalLm>(model: &M, tokens: &[u32], cache: &mut KvCache) -> Vec<f32> {
    let ids: Vec<i64> = tokens.iter().map(|id| i64::from(*id)).collect();
    let data = TensorData::new(ids, [1, tokens.len()]);
    let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &model.device()));
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, Some(cache), &mut tape);
    let last = hidden.narrow(1, tokens.len() - 1, 1);
    let data = model.logits(last).into_data().convert_dtype(DType::F32);
    data.iter::<f32>().collect()
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
