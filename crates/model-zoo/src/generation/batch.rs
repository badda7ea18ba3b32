use burn::tensor::{DType, Int, Tensor, TensorData};
use router::{BatchContext, RoutingTape};

use super::GenerationError;
use super::prompt::check_prompt;
use crate::{CausalLm, PaddingSide, TokenInput};

/// The most prompts that are computed together.
const BATCH: usize = 64;

/// Continues many prompts, each with its most probable tokens.
///
/// Prompts of similar length are computed together, padded on the left, and sequences that ended
/// are dropped. `eos` are the tokens that end a sequence (empty: none); they are not part of the
/// result, which has the new tokens of each prompt in the order of the prompts. Pass a model
/// outside of autodiff (`model.valid()`), or every step keeps its graph.
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
    for (index, prompt) in prompts.iter().enumerate() {
        check_prompt(model, index, prompt)?;
    }
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|index| prompts[*index].len());
    let mut outputs = vec![Vec::new(); prompts.len()];
    if max_new_tokens > 0 {
        for chunk in order.chunks(BATCH) {
            continue_chunk(model, prompts, chunk, max_new_tokens, eos, &mut outputs)?;
        }
    }
    Ok(outputs)
}

fn continue_chunk<M: CausalLm>(
    model: &M,
    prompts: &[Vec<u32>],
    chunk: &[usize],
    max_new_tokens: usize,
    eos: &[u32],
    outputs: &mut [Vec<u32>],
) -> Result<(), GenerationError> {
    let device = model.device();
    let sequences: Vec<&[u32]> = chunk.iter().map(|index| prompts[*index].as_slice()).collect();
    let longest = sequences.iter().map(|sequence| sequence.len()).max().unwrap_or(0);
    let pad = model.pad_token_id().unwrap_or(0);
    let mut input = TokenInput::from_sequences(&sequences, pad, PaddingSide::Left, &device);
    let mut tape = RoutingTape::new(input.context());
    let mut cache = model.new_cache();
    // The prompt of each row of the batch; `None` once its sequence has ended.
    let mut rows: Vec<Option<usize>> = chunk.iter().copied().map(Some).collect();
    for step in 0..max_new_tokens {
        let [_, len] = input.input_ids.dims();
        let hidden = model.hidden_states(&input, Some(&mut cache), &mut tape);
        let tokens = most_probable(model.logits(hidden.narrow(1, len - 1, 1)), longest + step)?;
        for (row, token) in rows.iter_mut().zip(&tokens) {
            match *row {
                Some(_) if eos.contains(token) => *row = None,
                Some(index) => outputs[index].push(*token),
                None => {}
            }
        }
        let active: Vec<usize> =
            rows.iter().enumerate().filter_map(|(i, row)| row.map(|_| i)).collect();
        if active.is_empty() || step + 1 == max_new_tokens {
            break;
        }
        let mut next: Vec<i64> = tokens.iter().map(|token| i64::from(*token)).collect();
        // Copying the cache pays when it saves at least half of each step.
        if 2 * active.len() <= rows.len() {
            cache.select(&active, &device);
            next = active.iter().map(|row| next[*row]).collect();
            rows.retain(Option::is_some);
        }
        let shape = [next.len(), 1];
        input = TokenInput::new(Tensor::<2, Int>::from_data(TensorData::new(next, shape), &device));
        tape = RoutingTape::new(BatchContext::new(shape[0], 1));
    }
    Ok(())
}

/// The most probable token of each row of `[B, 1, V]`.
fn most_probable(logits: Tensor<3>, position: usize) -> Result<Vec<u32>, GenerationError> {
    let rows = logits.dims()[0];
    let (best, tokens) = logits.max_dim_with_indices(2);
    let best = best.into_data().convert_dtype(DType::F32);
    if best.iter::<f32>().any(|score| !score.is_finite()) {
        return Err(GenerationError::NotFinite { position });
    }
    let tokens: Vec<u32> = tokens.into_data().iter::<i64>().map(|token| token as u32).collect();
    debug_assert_eq!(tokens.len(), rows);
    Ok(tokens)
}
