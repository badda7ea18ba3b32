use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor};
use model_zoo::CausalLm;

/// The bytes that the logits of one chunk may take.
const CHUNK_BYTES: usize = 32 << 20;

/// The cross-entropy of each target.
///
/// Returns them, `[T]`, outside of the graph and unread, and a tensor of one element whose gradient is
/// that of their sum times `scale` (its own value means nothing): the gradient of the cross-entropy
/// of logits `z`,
/// `softmax(z) - onehot(target)`, is known in closed form, so the graph never holds a softmax. Of a
/// frozen head only the gradient of the hidden states is needed: it then runs in chunks outside the
/// graph, and memory does not grow with the vocabulary.
///
/// # Shapes
///
/// - `hidden`: `[T, H]`, the hidden states from which the targets are predicted
/// - `targets`: `[T]`
pub fn cross_entropy<M: CausalLm>(
    model: &M,
    hidden: Tensor<2>,
    targets: Tensor<1, Int>,
    scale: f64,
) -> (Tensor<1>, Tensor<1>) {
    match model.head_trains() {
        true => {
            let logits = model.logits(hidden);
            let (losses, gradient) = fused_ops::cross_entropy(logits.clone().inner(), targets);
            let gradient = Tensor::from_inner(gradient * scale);
            (losses, fused_ops::with_gradient(logits, gradient))
        }
        false => {
            let [rows, _] = hidden.dims();
            let chunk = (CHUNK_BYTES / (4 * model.vocab_size())).max(1);
            let mut values: Vec<Tensor<1>> = Vec::with_capacity(rows.div_ceil(chunk));
            let mut gradients = Vec::with_capacity(rows.div_ceil(chunk));
            for start in (0..rows).step_by(chunk) {
                let len = chunk.min(rows - start);
                let part = hidden.clone().inner().narrow(0, start, len);
                let part = Tensor::from_inner(part).require_grad();
                let logits = model.logits(part.clone());
                let targets = targets.clone().narrow(0, start, len);
                let (losses, gradient) = fused_ops::cross_entropy(logits.clone().inner(), targets);
                values.push(losses);
                let grads =
                    fused_ops::with_gradient(logits, Tensor::from_inner(gradient)).backward();
                if let Some(gradient) = part.grad(&grads) {
                    gradients.push(gradient);
                }
            }
            let gradient = Tensor::from_inner(Tensor::cat(gradients, 0) * scale);
            (Tensor::cat(values, 0), fused_ops::with_gradient(hidden, gradient))
        }
    }
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

    fn summed(losses: Tensor<1>) -> f64 {
        losses.into_data().iter::<f32>().map(f64::from).sum()
    }

    /// The value, and the gradients of the hidden states and of the head, of one way to compute the
    /// loss.
    fn run(
        head_trains: bool,
        loss: impl Fn(&Decoder, Tensor<2>, Tensor<1, Int>) -> (Tensor<1>, Tensor<1>),
    ) -> (f64, TensorData, Option<TensorData>) {
        let device = Device::flex();
        let config = DecoderConfig::new(40, 16, 24, 1, 2);
        let model: Decoder = Decoder::init_random(&config, 3, &device).unwrap();
        let model = if head_trains { model } else { model.no_grad() };
        let model = model.train();
        let hidden: Vec<f32> = (0..7 * 16).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let hidden: Tensor<2> = Tensor::from_data(TensorData::new(hidden, [7, 16]), &device);
        let hidden = Tensor::from_inner(hidden).require_grad();
        let targets = Tensor::from_inner(Tensor::from_data([3, 0, 39, 5, 5, 8, 21], &device));
        let (losses, objective) = loss(&model, hidden.clone(), targets);
        let value = summed(losses);
        let grads = objective.backward();
        let weight = match &model.lm_head {
            Some(head) => head.weight.val(),
            None => model.model.embed_tokens.weight.val(),
        };
        let of_head = weight.grad(&grads).map(Tensor::into_data);
        (value, hidden.grad(&grads).unwrap().into_data(), of_head)
    }

    #[test]
    fn both_heads_have_the_value_and_gradients_of_the_plain_formula() {
        let scale = 1.0 / 7.0;
        let (plain, plain_gradient, plain_of_head) = run(true, |model, hidden, targets| {
            let picked = log_softmax(model.logits(hidden), 1).gather(1, targets.reshape([7, 1]));
            let loss = -picked.sum();
            (loss.clone().inner(), loss * scale)
        });
        for trains in [false, true] {
            let (value, gradient, of_head) =
                run(trains, |model, hidden, targets| cross_entropy(model, hidden, targets, scale));
            assert!((value / plain - 1.0).abs() < 1e-5, "{trains}: {value} for {plain}");
            gradient.assert_approx_eq::<f32>(&plain_gradient, Tolerance::rel_abs(1e-4, 1e-6));
            match trains {
                true => of_head.unwrap().assert_approx_eq::<f32>(
                    plain_of_head.as_ref().unwrap(),
                    Tolerance::rel_abs(1e-4, 1e-6),
                ),
                false => assert!(of_head.is_none()),
            }
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
