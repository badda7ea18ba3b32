use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Int, Tensor, TensorData};
use data::Target;
use fused_ops::sent;
use model_zoo::ProblemType;

/// The summed loss of logits `[B, labels]`, as transformers has it for each kind of problem: the
/// cross-entropy of the softmax, the binary cross-entropy of each sigmoid, or the squared error.
pub(super) fn loss_of_batch(logits: Tensor<2>, targets: &[Target]) -> Tensor<1> {
    let [rows, labels] = logits.dims();
    let device = logits.device();
    let floats = || {
        let values: Vec<f32> = targets.iter().flat_map(Target::numbers).collect();
        Tensor::<2>::from_data(sent(TensorData::new(values, [rows, labels])), &device)
    };
    match targets.first() {
        Some(Target::Class(_)) => {
            let classes: Vec<i64> = targets
                .iter()
                .map(|target| if let Target::Class(class) = target { *class as i64 } else { 0 })
                .collect();
            let classes = TensorData::new(classes, [rows, 1]);
            let classes = Tensor::<2, Int>::from_data(sent(classes), &device);
            -log_softmax(logits, 1).gather(1, classes).sum()
        }
        // -y ln σ(x) - (1 - y) ln(1 - σ(x)) = max(x, 0) + ln(1 + exp(-|x|)) - x y
        Some(Target::Classes(_)) => {
            let rest = (-logits.clone().abs()).exp().log1p();
            (relu(logits.clone()) + rest - logits * floats()).sum()
        }
        Some(Target::Value(_)) => (logits - floats()).powi_scalar(2).sum(),
        None => logits.sum() * 0.0,
    }
}

/// The loss of the logits of one sample.
pub fn label_loss(logits: &[f64], target: &Target) -> f64 {
    match target {
        Target::Class(class) => {
            log_sum_exp(logits) - logits.get(*class).copied().unwrap_or(f64::NAN)
        }
        Target::Classes(classes) => logits
            .iter()
            .zip(classes)
            .map(|(x, right)| {
                x.max(0.0) + (-x.abs()).exp().ln_1p() - x * f64::from(u8::from(*right))
            })
            .sum(),
        Target::Value(value) => logits.iter().map(|x| (x - f64::from(*value)).powi(2)).sum(),
    }
}

/// What logits say: the probability of each class, or the number itself.
pub fn probabilities(logits: &[f64], problem: ProblemType) -> Vec<f64> {
    match problem {
        ProblemType::Regression => logits.to_vec(),
        ProblemType::SingleLabelClassification => {
            let sum = log_sum_exp(logits);
            logits.iter().map(|x| (x - sum).exp()).collect()
        }
        ProblemType::MultiLabelClassification => {
            logits.iter().map(|x| 1.0 / (1.0 + (-x).exp())).collect()
        }
    }
}

fn log_sum_exp(logits: &[f64]) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + logits.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// The sum on the device is that of the host, and that of a formula.
    fn check(logits: [[f32; 2]; 2], targets: [Target; 2], expected: f64) {
        let on_device = loss_of_batch(Tensor::from_data(logits, &Device::flex()), &targets);
        let on_device = f64::from(on_device.into_scalar::<f32>());
        let rows = logits.iter().map(|row| row.map(f64::from));
        let on_host: f64 = rows.zip(&targets).map(|(row, target)| label_loss(&row, target)).sum();
        assert!((on_device - expected).abs() < 1e-5, "{on_device} {expected}");
        assert!((on_host - expected).abs() < 1e-9, "{on_host} {expected}");
    }

    #[test]
    fn losses_are_those_of_transformers() {
        let logits = [[1.0, 3.0], [0.5, -0.5]];
        let softmax = |x: f64, y: f64| (x.exp() / (x.exp() + y.exp())).ln();
        let expected = -softmax(3.0, 1.0) - softmax(0.5, -0.5);
        check(logits, [Target::Class(1), Target::Class(0)], expected);
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let expected =
            -(sigmoid(1.0).ln() + sigmoid(-3.0).ln() + sigmoid(0.5).ln()) - sigmoid(-0.5).ln();
        let targets = [vec![true, false], vec![true, true]].map(Target::Classes);
        check(logits, targets, expected);
    }

    #[test]
    fn a_number_has_its_squared_error() {
        let logits = Tensor::<2>::from_data([[1.0], [2.0]], &Device::flex());
        let loss = loss_of_batch(logits, &[Target::Value(0.0), Target::Value(4.0)]);
        assert_eq!(loss.into_scalar::<f32>(), 5.0);
        assert_eq!(label_loss(&[1.5], &Target::Value(1.0)), 0.25);
    }

    #[test]
    fn probabilities_follow_the_problem() {
        let single = probabilities(&[1000.0, 1000.0], ProblemType::SingleLabelClassification);
        assert!(single.iter().all(|share| (share - 0.5).abs() < 1e-9), "{single:?}");
        let several = probabilities(&[0.0, -1000.0], ProblemType::MultiLabelClassification);
        assert_eq!(several, [0.5, 0.0]);
        assert_eq!(probabilities(&[1.5], ProblemType::Regression), [1.5]);
    }
}
