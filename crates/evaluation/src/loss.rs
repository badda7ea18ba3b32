use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
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
            let (losses, gradient) = fused_ops::cross_entropy(logits.clone().inner(), targets);
            let gradient = Tensor::from_inner(gradient * scale);
            (summed(losses), (logits * gradient).sum())
        }
        Head::Frozen => {
            let [rows, _] = hidden.dims();
            let chunk = (CHUNK_BYTES / (4 * model.vocab_size())).max(1);
            let mut values = Vec::with_capacity(rows.div_ceil(chunk));
            let mut gradients = Vec::with_capacity(rows.div_ceil(chunk));
            for start in (0..rows).step_by(chunk) {
                let len = chunk.min(rows - start);
                let part = hidden.clone().inner().narrow(0, start, len);
                let part = Tensor::from_inner(part).require_grad();
                let logits = model.logits(part.clone());
                let targets = targets.clone().narrow(0, start, len);
                let (losses, gradient) = fused_ops::cross_entropy(logits.clone().inner(), targets);
                values.push(losses);
                let grads = (logits * Tensor::from_inner(gradient)).sum().backward();
                if let Some(gradient) = part.grad(&grads) {
                    gradients.push(gradient);
                }
            }
            let gradient = Tensor::from_inner(Tensor::cat(gradients, 0) * scale);
            // Read once, after everything: a device computes on while the host does not wait.
            let value = summed(Tensor::cat(values, 0));
            (value, (hidden * gradient).sum())
        }
    }
}

/// Summed in f64: a batch has thousands of them.
fn summed(losses: Tensor<1>) -> f64 {
    losses.into_data().iter::<f32>().map(f64::from).sum()
}

/// The summed cross-entropy without a gradient, for evaluation.
pub(crate) fn cross_entropy_value<M: CausalLm>(
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

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;
    use burn::tensor::{Device, TensorData, Tolerance};
    use model_zoo::{Decoder, DecoderConfig};

    /// The value, and the gradient of the hidden states, of one way to compute the loss.
    fn run(
        loss: impl Fn(&Decoder, Tensor<2>, Tensor<1, Int>) -> (f64, Tensor<1>),
    ) -> (f64, TensorData) {
        let device = Device::flex();
        let config = DecoderConfig::new(40, 16, 24, 1, 2);
        let model: Decoder = Decoder::init_random(&config, 3, &device).unwrap();
        let model = model.train();
        let hidden: Vec<f32> = (0..7 * 16).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let hidden: Tensor<2> = Tensor::from_data(TensorData::new(hidden, [7, 16]), &device);
        let hidden = Tensor::from_inner(hidden).require_grad();
        let targets = Tensor::from_inner(Tensor::from_data([3, 0, 39, 5, 5, 8, 21], &device));
        let (value, objective) = loss(&model, hidden.clone(), targets);
        let grads = objective.backward();
        (value, hidden.grad(&grads).unwrap().into_data())
    }

    #[test]
    fn both_heads_have_the_value_and_gradient_of_the_plain_formula() {
        let scale = 1.0 / 7.0;
        let (plain, plain_gradient) = run(|model, hidden, targets| {
            let picked = log_softmax(model.logits(hidden), 1).gather(1, targets.reshape([7, 1]));
            let loss = -picked.sum();
            (f64::from(loss.clone().inner().into_scalar::<f32>()), loss * scale)
        });
        for head in [Head::Frozen, Head::Trained] {
            let (value, gradient) =
                run(|model, hidden, targets| cross_entropy(model, hidden, targets, head, scale));
            assert!((value / plain - 1.0).abs() < 1e-5, "{head:?}: {value} for {plain}");
            gradient.assert_approx_eq::<f32>(&plain_gradient, Tolerance::rel_abs(1e-4, 1e-6));
        }
    }

    #[test]
    fn extreme_logits_have_finite_gradients() {
        let logits = Tensor::from_data([[1e4, -1e4, 0.0], [0.0, 0.0, 0.0]], &Device::flex());
        let targets = Tensor::from_data([1, 2], &Device::flex());
        let (losses, gradient) = fused_ops::cross_entropy(logits, targets);
        let value = summed(losses);
        assert!((value - (2e4 + 3.0_f64.ln())).abs() < 1e-2, "{value}");
        let gradient = gradient.into_data().try_to_vec::<f32>().unwrap();
        assert_eq!(gradient[..3], [1.0, -1.0, 0.0]);
    }
}
