use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use fused_ops::DownPart;

use crate::ExpertError;

/// Where low-rank experts start.
#[derive(Debug, Clone)]
pub struct Factors {
    /// `A` of every expert, `[N, r, I]`, or `[1, r, I]` where all share it.
    pub lora_a: Tensor<3>,
    /// `B` of every expert, `[N, O, r]`.
    pub lora_b: Tensor<3>,
    /// A factor of each expert's scaling, `[N]`: `s_e = s * expert_scaling[e]`; `None` for all 1.
    pub expert_scaling: Option<Vec<f64>>,
}

/// The factors of low-rank experts as one pass has them, with its masks.
#[derive(Debug, Clone)]
pub struct PassFactors {
    /// What reads the activations, `A` `[N, r, I]` or `[1, r, I]`, with its dropout.
    pub down: DownPart,
    /// `B`, `[N, O, r]`.
    pub b: Tensor<3>,
}

/// Stacks the factors of experts whose ranks may differ, `A` `[r_e, I]` and `B` `[O, r_e]` each,
/// into `[E, r, I]` and `[E, O, r]` with the largest rank `r`.
///
/// The rest is zero, and stays so in training: the gradient of a row of `A` is a product with the
/// column of `B` beside it, and the other way round. A scaling that depends on the rank is the
/// experts' `expert_scaling`.
///
/// # Errors
///
/// [`ExpertError`] when there is no expert, or the factors are not of one layer.
pub fn stack_ranks(
    factors: Vec<(Tensor<2>, Tensor<2>)>,
) -> Result<(Tensor<3>, Tensor<3>), ExpertError> {
    let Some((a, b)) = factors.first() else {
        return Err(ExpertError::Zero { field: "experts" });
    };
    let (in_features, out_features) = (a.dims()[1], b.dims()[0]);
    let rank = factors.iter().map(|(a, _)| a.dims()[0]).max().unwrap_or(0);
    let mut stacked = (Vec::new(), Vec::new());
    for (expert, (a, b)) in factors.into_iter().enumerate() {
        let (a_dims, b_dims) = (a.dims(), b.dims());
        let fit = a_dims == [b_dims[1], in_features] && b_dims[0] == out_features;
        if !fit || a_dims.contains(&0) || b_dims.contains(&0) {
            return Err(ExpertError::Stack { expert, a: a_dims, b: b_dims });
        }
        let zeros = |shape: [usize; 2], like: &Tensor<2>| {
            Tensor::<2>::zeros(shape, &like.device()).cast(like.dtype())
        };
        let missing = rank - a_dims[0];
        let (more_a, more_b) =
            (zeros([missing, in_features], &a), zeros([out_features, missing], &b));
        let padded = if missing == 0 {
            (a, b)
        } else {
            (Tensor::cat(vec![a, more_a], 0), Tensor::cat(vec![b, more_b], 1))
        };
        stacked.0.push(padded.0.unsqueeze::<3>());
        stacked.1.push(padded.1.unsqueeze::<3>());
    }
    Ok((Tensor::cat(stacked.0, 0), Tensor::cat(stacked.1, 0)))
}

/// Checks that `A` `[N, r, I]` or `[1, r, I]` and `B` `[N, O, r]` are of one bank.
pub(crate) fn check_factors(a: &Tensor<3>, b: &Tensor<3>) -> Result<(), ExpertError> {
    let (a, b) = (a.dims(), b.dims());
    let fit = (a[0] == b[0] || a[0] == 1) && a[1] == b[2];
    if !fit || a.contains(&0) || b.contains(&0) {
        return Err(ExpertError::Shapes { a, b });
    }
    Ok(())
}

/// Checks what all low-rank experts have.
pub(crate) fn check_numbers(scaling: f64, lora_dropout: f64) -> Result<(), ExpertError> {
    if !(0.0..1.0).contains(&lora_dropout) {
        return Err(ExpertError::Dropout { value: lora_dropout });
    }
    if !scaling.is_finite() {
        return Err(ExpertError::Scaling { value: scaling });
    }
    Ok(())
}

/// The factors of the experts' scalings as a parameter that is saved but not trained.
pub(crate) fn expert_scaling(
    values: Option<&[f64]>,
    experts: usize,
    device: &Device,
) -> Result<Option<Param<Tensor<1>>>, ExpertError> {
    let Some(values) = values else { return Ok(None) };
    if values.len() != experts || !values.iter().all(|value| value.is_finite()) {
        return Err(ExpertError::ExpertScaling { experts, found: values.to_vec() });
    }
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let values = Tensor::from_data(TensorData::new(values, [experts]), device);
    Ok(Some(Param::from_tensor(values).no_grad()))
}

/// The factors of `sum_e weights_e s_e B_e A_e`, `A` `[R, I]` and `B` `[O, R]`, from [`scale_up`](fused_ops::scale_up);
/// `weights` is `[1, N]`, all 1 where absent.
pub(crate) fn merged_factors(
    a: Tensor<3>,
    up: Tensor<2>,
    weights: Option<Tensor<2>>,
    experts: usize,
) -> (Tensor<2>, Tensor<2>) {
    let [of_a, rank, in_features] = a.dims();
    let out_features = up.dims()[1];
    let mut up = up.reshape([experts, rank * out_features]);
    if let Some(weights) = weights {
        up = up.clone() * weights.cast(up.dtype()).reshape([experts, 1]);
    }
    if of_a != experts {
        up = up.sum_dim(0);
    }
    let a = a.reshape([of_a * rank, in_features]);
    (a, up.reshape([of_a * rank, out_features]).transpose())
}
