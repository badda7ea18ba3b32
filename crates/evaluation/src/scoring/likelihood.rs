use burn::tensor::{Int, Tensor, TensorData};
use model_zoo::{CausalLm, KvCache, PaddingSide, TokenInput, TokenTree};
use router::{Reach, RoutingTape};

use super::head::predictions;
use super::plan::{Group, Limits, plan};
use super::span::Span;

/// What was found of a span.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Likelihood {
    /// The sum of `ln p` of the targets; NaN where the logits are no numbers.
    pub(super) sum: f64,
    /// Whether every target was the most probable token.
    pub(super) is_greedy: bool,
}

/// Scores spans in an order of its own; `on_done` is told the index of each, and how many tokens
/// its batch has computed, which is given with the first of them. Batches of spans that are all
/// `known` are passed over.
pub(super) fn likelihoods<M: CausalLm, E>(
    model: &M,
    spans: &[Span],
    limits: Limits,
    known: &dyn Fn(usize) -> bool,
    on_done: &mut dyn FnMut(usize, Likelihood, usize) -> Result<(), E>,
) -> Result<(), E> {
    for Group { prefix, batches } in planned(model, spans, limits) {
        let mut before = None;
        for batch in batches {
            if batch.iter().flatten().all(|span| known(*span)) {
                continue;
            }
            let mut computed = 0;
            if prefix > 0 && before.is_none() {
                before = Some(beginning(model, &spans[batch[0][0]].tokens[..prefix]));
                computed += prefix;
            }
            let (found, tokens) = score(model, spans, &batch, prefix, before.clone());
            computed += tokens;
            for (index, likelihood) in found {
                on_done(index, likelihood, std::mem::take(&mut computed))?;
            }
        }
    }
    Ok(())
}

/// Which spans are computed together.
pub(super) fn planned<M: CausalLm>(model: &M, spans: &[Span], limits: Limits) -> Vec<Group> {
    let is_long = |beyond: usize| spans.iter().any(|span| span.tokens.len() > beyond);
    let limits = match model.length_dependence() {
        // Positions follow from the longest row of a pass, and beginnings have those of their own.
        Some(length) if is_long(length.beyond) => Limits { reach: Reach::Batch, ..limits },
        _ => limits,
    };
    plan(spans, limits)
}

/// The keys and values of tokens with which all rows of the next passes begin.
fn beginning<M: CausalLm>(model: &M, tokens: &[u32]) -> KvCache {
    let input = TokenInput::from_sequences(&[tokens], 0, PaddingSide::Right, &model.device());
    let mut cache = model.new_cache();
    let mut tape = RoutingTape::new(input.context());
    model.hidden_states(&input, Some(&mut cache), &mut tape);
    cache.share();
    cache
}

/// Computes one batch of rows of spans, after `prefix` tokens in a cache. Returns what was found of
/// each span, and the number of tokens computed, padding included.
fn score<M: CausalLm>(
    model: &M,
    spans: &[Span],
    batch: &[Vec<usize>],
    prefix: usize,
    mut cache: Option<KvCache>,
) -> (Vec<(usize, Likelihood)>, usize) {
    let mut trees = Vec::with_capacity(batch.len());
    // Of each wanted token its row, its position in the row, its span and itself.
    let mut wanted = Vec::new();
    for (row, members) in batch.iter().enumerate() {
        let mut tree = TokenTree::default();
        for &index in members {
            let span = &spans[index];
            let path = tree.insert(&span.tokens[prefix..]);
            let positions = &path[span.first() - prefix..];
            let targets = positions.iter().zip(&span.targets);
            wanted.extend(targets.map(|(position, target)| (row, *position, index, *target)));
        }
        trees.push(tree);
    }
    let device = model.device();
    let pad = model.pad_token_id().unwrap_or(0);
    let input = TokenInput::from_trees(&trees, pad, PaddingSide::Right, &device);
    let mut tape = RoutingTape::new(input.context());
    let hidden = model.hidden_states(&input, cache.as_mut(), &mut tape);
    let [rows, len, width] = hidden.dims();

    // Choices of one token have one position in common.
    wanted.sort_by_key(|(row, position, ..)| (*row, *position));
    let mut positions: Vec<i64> = Vec::new();
    let mut tokens = Vec::with_capacity(wanted.len());
    for (row, position, _, target) in &wanted {
        let position = (row * len + position) as i64;
        if positions.last() != Some(&position) {
            positions.push(position);
        }
        tokens.push((positions.len() - 1, *target));
    }
    let count = positions.len();
    let positions = Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &device);
    let hidden = hidden.reshape([rows * len, width]).select(0, positions);
    let predictions = predictions(model, hidden, &tokens);

    let mut found: Vec<(usize, Likelihood)> = Vec::new();
    let nothing = Likelihood { sum: 0.0, is_greedy: true };
    found.extend(batch.iter().flatten().map(|index| (*index, nothing)));
    found.sort_by_key(|(index, _)| *index);
    for ((_, _, index, _), prediction) in wanted.iter().zip(predictions) {
        let place = found.binary_search_by_key(index, |(index, _)| *index);
        if let Some((_, likelihood)) = place.ok().and_then(|place| found.get_mut(place)) {
            likelihood.sum += f64::from(prediction.log_probability);
            likelihood.is_greedy &= prediction.is_best;
        }
    }
    (found, rows * len)
}
