use burn::tensor::activation::log_softmax;
use burn::tensor::{IndexingUpdateOp, Int, Tensor};
use model_zoo::CausalLm;

/// Whether the output head learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// It is frozen, so the gradient of the hidden states is all that is needed of it. The head
    /// then runs in chunks outside the graph, and memory does not grow with the vocabulary.
    Frozen,
    /// It is trained with the model.
    Trained,
}

/// The bytes that the logits of one chunk may take.
const CHUNK_BYTES: usize = 32 << 20;

/// The cross-entropy of the targets, summed.
///
/// Returns the value, and a tensor of one element whose gradient is that of the value times
/// `scale` (its own value means nothing): the gradient of the cross-entropy of logits `z`,
/// `softmax(z) - onehot(target)`, is known in closed form, so the graph never holds a softmax.
///
/// # Shapes
///
/// - `hidden`: `[T, H]`, the hidden states from which the targets are predicted
/// - `targets`: `[T]`
pub fn cross_entropy<M: CausalLm>(
    model: &M,
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
    head: Head,
    scale: f64,
) -> (f64, Tensor<1>) {
    match head {
        Head::Trained => {
            let logits = model.logits(hidden);
            let (value, gradient) = value_and_gradient(logits.clone().inner(), targets);
            let gradient = Tensor::from_inner(gradient * scale);
            (value, (logits * gradient).sum())
        }
        Head::Frozen => {
            let [rows, _] = hidden.dims();
            let chunk = (CHUNK_BYTES / (4 * model.vocab_size())).max(1);
            let mut value = 0.0;
            let mut gradients = Vec::with_capacity(rows.div_ceil(chunk));
            for start in (0..rows).step_by(chunk) {
                let len = chunk.min(rows - start);
                let part = hidden.clone().inner().narrow(0, start, len);
                let part = Tensor::from_inner(part).require_grad();
                let logits = model.logits(part.clone());
                let (sum, gradient) =
                    value_and_gradient(logits.clone().inner(), targets.clone().narrow(0, start, len));
                value += sum;
                let grads = (logits * Tensor::from_inner(gradient)).sum().backward();
                if let Some(gradient) = part.grad(&grads) {
                    gradients.push(gradient);
                }
            }
            let gradient = Tensor::from_inner(Tensor::cat(gradients, 0) * scale);
            (value, (hidden * gradient).sum())
        }
    }
}

/// The summed cross-entropy of `logits` `[T, V]` and its gradient.
fn value_and_gradient(logits: Tensor<2>, targets: Tensor<1, Int>) -> (f64, Tensor<2>) {
    let [rows, _] = logits.dims();
    let targets = targets.reshape([rows, 1]);
    let log_probabilities = log_softmax(logits, 1);
    let value = log_probabilities.clone().gather(1, targets.clone()).sum();
    let minus_one: Tensor<2> = Tensor::full([rows, 1], -1.0, &log_probabilities.device());
    let gradient =
        log_probabilities.exp().scatter(1, targets, minus_one, IndexingUpdateOp::Add);
    (-f64::from(value.into_scalar::<f32>()), gradient)
}

/// The summed cross-entropy without a gradient, for evaluation.
pub(super) fn cross_entropy_value<M: CausalLm>(
    model: &M,
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
) -> f64 {
    let [rows, _] = hidden.dims();
    let chunk = (CHUNK_BYTES / (4 * model.vocab_size())).max(1);
    let mut value = 0.0;
    for start in (0..rows).step_by(chunk) {
        let len = chunk.min(rows - start);
        let logits = model.logits(hidden.clone().narrow(0, start, len));
        let targets = targets.clone().narrow(0, start, len).reshape([len, 1]);
        let picked = log_softmax(logits, 1).gather(1, targets).sum();
        value -= f64::from(picked.into_scalar::<f32>());
    }
    value
}
