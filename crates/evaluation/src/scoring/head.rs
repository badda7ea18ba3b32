use burn::tensor::{DType, Int, Tensor, TensorData};
use model_zoo::CausalLm;

/// The bytes that the logits of one chunk may take.
const CHUNK_BYTES: usize = 32 << 20;

/// What the model says of one token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Prediction {
    /// `ln p`, in f32 as the logits are; NaN where they are no numbers.
    pub(super) log_probability: f32,
    /// Whether no token is more probable.
    pub(super) is_best: bool,
}

/// What the model says of `wanted` tokens, each with the row of `hidden` that predicts it; rows in
/// ascending order.
///
/// # Shapes
///
/// - `hidden`: `[T, H]`
pub(super) fn predictions<M: CausalLm>(
    model: &M,
    hidden: Tensor<2>,
    wanted: &[(usize, u32)],
) -> Vec<Prediction> {
    let [rows, _] = hidden.dims();
    let vocab = model.vocab_size();
    let chunk = (CHUNK_BYTES / (4 * vocab)).max(1);
    let mut rest = wanted;
    let mut found = Vec::with_capacity(wanted.len());
    for start in (0..rows).step_by(chunk) {
        let len = chunk.min(rows - start);
        let count = rest.partition_point(|(row, _)| *row < start + len);
        let (part, after) = rest.split_at(count);
        rest = after;
        if part.is_empty() {
            continue;
        }
        let logits = model.logits(hidden.clone().narrow(0, start, len));
        let places =
            part.iter().map(|(row, token)| ((row - start) * vocab + *token as usize) as i64);
        let places = TensorData::new(places.collect::<Vec<_>>(), [part.len()]);
        let places = Tensor::<1, Int>::from_data(places, &logits.device());
        let picked = floats(logits.clone().reshape([len * vocab]).select(0, places));
        let highest = logits.clone().max_dim(1);
        let sums = floats((logits - highest.clone()).exp().sum_dim(1));
        let highest = floats(highest);
        found.extend(part.iter().zip(picked).map(|((row, _), logit)| {
            let (highest, sum) = (highest[row - start], sums[row - start]);
            let log_probability = (logit - highest) - sum.ln();
            Prediction { log_probability, is_best: logit >= highest }
        }));
    }
    found
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert_dtype(DType::F32).iter::<f32>().collect()
}
