use std::collections::VecDeque;

use burn::tensor::{DType, Int, Tensor, TensorData};
use router::{Reach, RoutingTape};

use super::prompt::check_prompt;
use super::sampler::Sampler;
use super::stop::{cut_at_stops, has_stop};
use super::{FinishReason, Generation, GenerationConfig, GenerationError};
use crate::{CausalLm, KvCache, PaddingSide, TextTokenizer, TokenInput, TokenTree};

/// A shared beginning is computed once when that saves so many tokens.
const WORTH_A_PASS: usize = 256;

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
/// The beginning that all prompts share is computed once. Sequences that have ended leave the
/// batch, and others take their places. What is generated does not depend on the batch by more
/// than rounding: where routers' decisions reach beyond a token, or positions depend on the length
/// of a sequence and one may become so long, each prompt is alone.
#[derive(Debug, Clone, Copy)]
pub struct BatchGenerator<'a, M: CausalLm> {
    /// The model, outside of autodiff (`model.valid()`), or every step keeps its graph.
    pub model: &'a M,
    /// The most tokens of prompts in one pass, padding included.
    pub prompt_tokens: usize,
    /// The most tokens whose keys and values are kept at a time.
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
    let config = GenerationConfig { max_new_tokens, ..Default::default() };
    let prompts: Vec<_> =
        prompts.iter().map(|tokens| BatchPrompt { tokens, config: &config }).collect();
    for (index, prompt) in prompts.iter().enumerate() {
        check_prompt(model, index, prompt.tokens)?;
    }
    if max_new_tokens > 0 {
        let never = &mut |_: usize, _: &[u32]| Ok(false);
        BatchGenerator::new(model).continue_all(&prompts, Some(eos), never, &mut |row, _| {
            outputs[row.index] = row.new;
            Ok::<_, GenerationError>(())
        })?;
    }
    Ok(outputs)
}

/// A sequence that is continued.
struct Row<'a> {
    index: usize,
    prompt: BatchPrompt<'a>,
    new: Vec<u32>,
    sampler: Sampler,
}

/// Whether the new tokens of the prompt with an index contain a stop.
type Stopped<'a> = dyn FnMut(usize, &[u32]) -> Result<bool, GenerationError> + 'a;

/// The most tokens that a prompt becomes.
fn needs(prompt: &BatchPrompt<'_>) -> usize {
    prompt.tokens.len() + prompt.config.max_new_tokens
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
        let stopped = &mut |index: usize, new: &[u32]| {
            Ok(has_stop(tokenizer, new, &prompts[index].config.stop)?)
        };
        self.continue_all(prompts, None, stopped, &mut |row, finish_reason| {
            let text = tokenizer.decode(&row.new, true).map_err(GenerationError::from)?;
            let text = cut_at_stops(text, &row.prompt.config.stop);
            on_done(row.index, Generation { text, token_ids: row.new, finish_reason })
        })
    }

    /// Continues all prompts. `eos` replaces the tokens that end a sequence; `stopped` says whether
    /// the new tokens of a prompt contain a stop.
    fn continue_all<'p, E: From<GenerationError>>(
        &self,
        prompts: &[BatchPrompt<'p>],
        eos: Option<&[u32]>,
        stopped: &mut Stopped<'_>,
        on_done: &mut dyn FnMut(Row<'p>, FinishReason) -> Result<(), E>,
    ) -> Result<(), E> {
        let alone = self.are_alone(prompts);
        let base = if alone { None } else { self.beginning(prompts) };
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        // The longest first: what comes later needs no more memory.
        order.sort_by_key(|index| std::cmp::Reverse(prompts[*index].tokens.len()));
        let mut queue = VecDeque::from(order);
        let mut rows: Vec<Row<'p>> = Vec::new();
        let mut cache: Option<KvCache> = None;
        let mut tokens: Vec<u32> = Vec::new();
        // Takes a new token of each row, and returns which rows go on.
        let mut take = |rows: &mut Vec<Row<'p>>, tokens: &[u32]| -> Result<Vec<usize>, E> {
            let mut going = Vec::with_capacity(rows.len());
            let before = std::mem::take(rows);
            for (i, (mut row, token)) in before.into_iter().zip(tokens).enumerate() {
                let config = row.prompt.config;
                let reason = match eos.unwrap_or(match config.eos_token_ids.as_slice() {
                    [] => self.model.eos_token_ids(),
                    given => given,
                }) {
                    eos if eos.contains(token) => Some(FinishReason::Eos),
                    _ => {
                        row.new.push(*token);
                        if stopped(row.index, &row.new)? {
                            Some(FinishReason::Stop)
                        } else {
                            (row.new.len() >= config.max_new_tokens).then_some(FinishReason::Length)
                        }
                    }
                };
                match reason {
                    Some(reason) => on_done(row, reason)?,
                    None => {
                        going.push(i);
                        rows.push(row);
                    }
                }
            }
            Ok(going)
        };
        let mut most = 1;
        loop {
            // Joining copies all that is cached, so many join at once.
            let mut parts = Vec::new();
            if rows.is_empty() || rows.len() <= most - most / 4 {
                let joining = self.next(prompts, &rows, alone, &mut queue);
                for chunk in self.passes(prompts, joining) {
                    let mut new: Vec<Row<'p>> = chunk
                        .into_iter()
                        .map(|index| {
                            let sampler = Sampler::new(prompts[index].config);
                            Row { index, prompt: prompts[index], new: Vec::new(), sampler }
                        })
                        .collect();
                    let (part, first) = self.prefill(&mut new, base.as_ref())?;
                    let going = take(&mut new, &first)?;
                    if !going.is_empty() {
                        let first = going.iter().map(|row| first[*row]).collect::<Vec<_>>();
                        parts.push((part, going, new, first));
                    }
                }
            }
            if !parts.is_empty() {
                let room = |row: &Row<'_>| row.prompt.config.max_new_tokens - row.new.len();
                let mut caches: Vec<(KvCache, Vec<usize>)> = Vec::new();
                caches.extend(cache.take().map(|cache| (cache, (0..rows.len()).collect())));
                for (part, going, new, first) in parts {
                    caches.push((part, going));
                    rows.extend(new);
                    tokens.extend(first);
                }
                let room = rows.iter().map(room).max().unwrap_or(0);
                cache = Some(KvCache::join(caches, room));
                most = rows.len();
            }
            let Some(seen) = cache.as_mut().filter(|_| !rows.is_empty()) else {
                if queue.is_empty() {
                    return Ok(());
                }
                continue;
            };
            tokens = self.step(&mut rows, &tokens, seen)?;
            let count = rows.len();
            let going = take(&mut rows, &tokens)?;
            if going.len() < count {
                tokens = going.iter().map(|row| tokens[*row]).collect();
                if rows.is_empty() {
                    cache = None;
                } else {
                    seen.select(&going, &self.model.device());
                }
            }
        }
    }

    /// Whether what a sequence gives would depend on the others of its batch.
    fn are_alone(&self, prompts: &[BatchPrompt<'_>]) -> bool {
        let longest = prompts.iter().map(needs).max().unwrap_or(0);
        let length = self.model.length_dependence();
        self.model.reach() != Reach::Token || length.is_some_and(|d| longest > d.beyond)
    }

    /// The keys and values of the tokens with which all prompts begin, where that is worth a pass.
    fn beginning(&self, prompts: &[BatchPrompt<'_>]) -> Option<KvCache> {
        let first = prompts.first()?.tokens;
        let common = |tokens: &[u32]| first.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        let common =
            prompts.iter().map(|prompt| common(prompt.tokens).min(prompt.tokens.len() - 1));
        let shared = common.min().unwrap_or(0);
        if shared * (prompts.len() - 1) < WORTH_A_PASS {
            return None;
        }
        let device = self.model.device();
        let input = TokenInput::from_sequences(&[&first[..shared]], 0, PaddingSide::Left, &device);
        let mut cache = self.model.new_cache();
        let mut tape = RoutingTape::new(input.context());
        self.model.hidden_states(&input, Some(&mut cache), &mut tape);
        Some(cache)
    }

    /// The prompts that join so many rows: as many as the cache has room for.
    fn next(
        &self,
        prompts: &[BatchPrompt<'_>],
        rows: &[Row<'_>],
        alone: bool,
        queue: &mut VecDeque<usize>,
    ) -> Vec<usize> {
        let mut longest = rows.iter().map(|row| needs(&row.prompt)).max().unwrap_or(0);
        let most = if alone { 1 } else { self.rows.max(1) };
        let mut joining = Vec::new();
        while let Some(&index) = queue.front() {
            longest = longest.max(needs(&prompts[index]));
            let count = rows.len() + joining.len();
            if count > 0 && (count >= most || (count + 1) * longest > self.cache_tokens) {
                break;
            }
            joining.push(index);
            queue.pop_front();
        }
        joining
    }

    /// Prompts in passes of at most so many tokens.
    fn passes(&self, prompts: &[BatchPrompt<'_>], joining: Vec<usize>) -> Vec<Vec<usize>> {
        let mut passes: Vec<Vec<usize>> = Vec::new();
        for index in joining {
            match passes.last_mut() {
                // The first is the longest.
                Some(pass)
                    if (pass.len() + 1) * prompts[pass[0]].tokens.len() <= self.prompt_tokens =>
                {
                    pass.push(index);
                }
                _ => passes.push(vec![index]),
            }
        }
        passes
    }

    /// Computes the prompts of rows, after what they share; returns their cache and first tokens.
    fn prefill(
        &self,
        rows: &mut [Row<'_>],
        base: Option<&KvCache>,
    ) -> Result<(KvCache, Vec<u32>), GenerationError> {
        let shared = base.map_or(0, KvCache::len);
        let chain = |row: &Row<'_>| {
            let mut tree = TokenTree::default();
            tree.insert(&row.prompt.tokens[shared..]);
            tree
        };
        let trees: Vec<_> = rows.iter().map(chain).collect();
        let pad = self.model.pad_token_id().unwrap_or(0);
        let device = self.model.device();
        let input = TokenInput::from_trees(&trees, pad, PaddingSide::Left, &device);
        let mut cache = match base {
            Some(base) => {
                let mut cache = base.clone();
                cache.repeat(rows.len());
                cache
            }
            None => self.model.new_cache(),
        };
        let tokens = self.pass(rows, &input, &mut cache)?;
        Ok((cache, tokens))
    }

    /// Computes the last token of each row, and returns the next ones.
    fn step(
        &self,
        rows: &mut [Row<'_>],
        tokens: &[u32],
        cache: &mut KvCache,
    ) -> Result<Vec<u32>, GenerationError> {
        let seen = cache.len();
        if let [row] = &*rows
            && self.model.length_dependence().is_some_and(|d| d.restarts_at(seen, seen + 1))
        {
            let mut tree = TokenTree::default();
            tree.insert(&[row.prompt.tokens, &row.new].concat());
            let device = self.model.device();
            let input = TokenInput::from_trees(&[tree], 0, PaddingSide::Left, &device);
            *cache = self.model.new_cache();
            return self.pass(rows, &input, cache);
        }
        let ids: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
        let data = TensorData::new(ids, [tokens.len(), 1]);
        let input = TokenInput::new(Tensor::<2, Int>::from_data(data, &self.model.device()));
        self.pass(rows, &input, cache)
    }

    fn pass(
        &self,
        rows: &mut [Row<'_>],
        input: &TokenInput,
        cache: &mut KvCache,
    ) -> Result<Vec<u32>, GenerationError> {
        let mut tape = RoutingTape::new(input.context());
        let hidden = self.model.hidden_states(input, Some(cache), &mut tape);
        let [_, len, _] = hidden.dims();
        let logits = self.model.logits(hidden.narrow(1, len - 1, 1).squeeze_dim::<2>(1));
        let position = |row: &Row<'_>| row.prompt.tokens.len() + row.new.len();
        if rows.iter().all(|row| row.sampler.takes_the_highest()) {
            let (best, tokens) = logits.max_dim_with_indices(1);
            let best = best.into_data().convert_dtype(DType::F32);
            for (row, score) in rows.iter().zip(best.iter::<f32>()) {
                if !score.is_finite() {
                    return Err(GenerationError::NotFinite { position: position(row) });
                }
            }
            return Ok(tokens.into_data().iter::<i64>().map(|token| token as u32).collect());
        }
        let vocab = self.model.vocab_size();
        let logits: Vec<f32> = logits.into_data().convert_dtype(DType::F32).iter().collect();
        let rows = rows.iter_mut().zip(logits.chunks(vocab));
        rows.map(|(row, logits)| {
            let history = [row.prompt.tokens, &row.new].concat();
            let position = position(row);
            let token = row.sampler.next(logits.to_vec(), &history, row.prompt.tokens.len());
            token.ok_or(GenerationError::NotFinite { position })
        })
        .collect()
    }
}
