use super::prompt::check_prompt;
use super::stop::cut_at_stops;
use super::{FinishReason, Generation, GenerationConfig, GenerationError};
use crate::engine::{EngineConfig, Event, Request, run_here};
use crate::{CausalLm, TextTokenizer};

/// A prompt of many, and how it is continued.
#[derive(Debug, Clone, Copy)]
pub struct BatchPrompt<'a> {
    /// The tokens, at least one.
    pub tokens: &'a [u32],
    /// How tokens are chosen, and when to stop. What is drawn follows from the seed alone, so
    /// prompts that are to draw differently need different seeds.
    pub config: &'a GenerationConfig,
}

/// Continues many prompts at once.
///
/// By the loop of the [`engine`](crate::engine): beginnings that prompts share are computed once, and
/// sequences that have ended leave their places to others. What is generated does not depend on the batch by more
/// than rounding: where routers' decisions reach beyond a token, or positions depend on the length
/// of a sequence and one may become so long, each prompt is alone.
#[derive(Debug, Clone, Copy)]
pub struct BatchGenerator<'a, M: CausalLm> {
    /// The model, outside of autodiff (`model.valid()`), or every step keeps its graph.
    pub model: &'a M,
    /// The most tokens of prompts in one pass.
    pub prompt_tokens: usize,
    /// The most tokens whose keys and values are kept at a time, unless a sequence has more.
    pub cache_tokens: usize,
    /// The most sequences that are continued together.
    pub rows: usize,
}

/// Continues many prompts, each with its most probable tokens.
///
/// `eos` are the tokens that end a sequence (empty: none); they are not part of the result, which
/// has the new tokens of each prompt in the order of the prompts. See [`BatchGenerator`].
///
/// # Errors
///
/// [`GenerationError`] when a prompt is empty or not of the model's vocabulary, or the model's
/// scores are not numbers.
pub fn generate_batch<M: CausalLm>(
    model: &M,
    prompts: &[Vec<u32>],
    max_new_tokens: usize,
    eos: &[u32],
) -> Result<Vec<Vec<u32>>, GenerationError> {
    let mut outputs = vec![Vec::new(); prompts.len()];
    let config =
        GenerationConfig { max_new_tokens, eos_token_ids: eos.to_vec(), ..Default::default() };
    let prompts: Vec<_> =
        prompts.iter().map(|tokens| BatchPrompt { tokens, config: &config }).collect();
    for (index, prompt) in prompts.iter().enumerate() {
        check_prompt(model, index, prompt.tokens)?;
    }
    if max_new_tokens > 0 {
        let on_done = &mut |index: usize, new, _| {
            outputs[index] = new;
            Ok::<_, GenerationError>(())
        };
        BatchGenerator::new(model).continue_all(None, &prompts, eos.is_empty(), on_done)?;
    }
    Ok(outputs)
}

impl<'a, M: CausalLm> BatchGenerator<'a, M> {
    /// With limits that suit CPUs.
    pub fn new(model: &'a M) -> Self {
        Self { model, prompt_tokens: 2048, cache_tokens: 1 << 16, rows: 64 }
    }

    /// Continues all prompts; `on_done` is given each as it ends, with its index.
    ///
    /// The text of a generation is that of all new tokens together, without special ones, up to
    /// the first stop text.
    ///
    /// # Errors
    ///
    /// [`GenerationError`] when a configuration cannot work, a prompt is empty or not of the
    /// model's vocabulary, or the model's scores are not numbers; and what `on_done` returns.
    pub fn run<E: From<GenerationError>>(
        &self,
        tokenizer: &TextTokenizer,
        prompts: &[BatchPrompt<'_>],
        on_done: &mut dyn FnMut(usize, Generation) -> Result<(), E>,
    ) -> Result<(), E> {
        for (index, prompt) in prompts.iter().enumerate() {
            prompt.config.check()?;
            check_prompt(self.model, index, prompt.tokens)?;
        }
        self.continue_all(Some(tokenizer), prompts, false, &mut |index, token_ids, reason| {
            let text = tokenizer.decode(&token_ids, true).map_err(GenerationError::from)?;
            let text = cut_at_stops(text, &prompts[index].config.stop);
            on_done(index, Generation { text, token_ids, finish_reason: reason })
        })
    }

    /// Continues all prompts; `on_done` is given the new tokens of each, without the one that ends it.
    fn continue_all<E: From<GenerationError>>(
        &self,
        tokenizer: Option<&TextTokenizer>,
        prompts: &[BatchPrompt<'_>],
        ignore_eos: bool,
        on_done: &mut dyn FnMut(usize, Vec<u32>, FinishReason) -> Result<(), E>,
    ) -> Result<(), E> {
        let needs = |prompt: &BatchPrompt<'_>| prompt.tokens.len() + prompt.config.max_new_tokens;
        let longest = prompts.iter().map(needs).max().unwrap_or(0);
        let config = EngineConfig {
            max_rows: self.rows.max(1),
            prompt_tokens: self.prompt_tokens,
            cache_tokens: self.cache_tokens.max(longest),
            ..EngineConfig::default()
        };
        let request = |prompt: &BatchPrompt<'_>| Request {
            prompt: prompt.tokens.to_vec(),
            generation: prompt.config.clone(),
            ignore_eos,
            ..Request::default()
        };
        let requests = prompts.iter().map(request).collect();
        let mut new = vec![Vec::new(); prompts.len()];
        run_here(self.model, tokenizer, config, requests, &mut |index, event| match event {
            Event::Token(token) => {
                new[index].push(token.token);
                Ok(())
            }
            Event::Done { reason, .. } => {
                let mut tokens = std::mem::take(&mut new[index]);
                if reason == FinishReason::Eos {
                    tokens.pop();
                }
                on_done(index, tokens, reason)
            }
            Event::Failed(error) => Err(GenerationError::from(error).into()),
            Event::Prompt(_) => Ok(()),
        })
    }
}
