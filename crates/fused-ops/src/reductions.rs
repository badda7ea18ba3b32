use burn::backend::Dispatch;
use burn::tensor::{Bool, Tensor, TensorData};

use crate::matmul;
use crate::ops::{LEAST_PROBABILITY, LEAST_SQUARE, Reduction, ReductionOps, kernels};

/// `ln(sum_e exp(z_e))` of each row, `[T, E]` to `[T]`. Its gradient is the softmax, computed from the
/// result in the backward pass.
pub fn log_sum_exp(logits: Tensor<2>) -> Tensor<1> {
    reduced(logits, Reduction::LogSumExp, log_sum_exp_composed)
}

/// [`log_sum_exp`] composed of Burn's operations.
pub fn log_sum_exp_composed(logits: Tensor<2>) -> Tensor<1> {
    let top = logits.clone().detach().max_dim(1);
    let sums = (logits - top.clone()).exp().sum_dim(1).log() + top;
    sums.squeeze_dim(1)
}

/// Shannon's entropy of each row in nats, `-sum_e p_e ln p_e`, `[T, E]` to `[T]`.
///
/// Probabilities below `1e-12` count as `1e-12`, and have no gradient.
pub fn entropy(probabilities: Tensor<2>) -> Tensor<1> {
    reduced(probabilities, Reduction::Entropy, entropy_composed)
}

/// [`entropy`] composed of Burn's operations.
pub fn entropy_composed(probabilities: Tensor<2>) -> Tensor<1> {
    let p = probabilities.clamp_min(LEAST_PROBABILITY);
    (p.clone() * p.log()).sum_dim(1).squeeze_dim::<1>(1).neg()
}

/// The products of all pairs of rows, `x x^T`, `[E, K]` to `[E, E]`: `2 E^2 K` flops, and as many
/// backward.
pub fn gram(x: Tensor<2>) -> Tensor<2> {
    reduced(x, Reduction::Gram, gram_composed)
}

/// [`gram`] composed of other operations.
pub fn gram_composed(x: Tensor<2>) -> Tensor<2> {
    matmul(x.clone(), x.transpose())
}

/// The mean squared cosine between two of `E` vectors, of their products `p = x x^T`
/// ([`gram`]), `[E, E]` and symmetric, to `[1]`: the mean over `i < j` of `p_ij^2 / (p_ii p_jj)`; 0
/// with fewer than two.
///
/// A vector whose square is below `1e-12` counts as if that were its square: one of zeros is like no
/// other.
pub fn mean_squared_cosine(products: Tensor<2>) -> Tensor<1> {
    reduced(products, Reduction::MeanSquaredCosine, mean_squared_cosine_composed)
}

/// [`mean_squared_cosine`] composed of Burn's operations.
pub fn mean_squared_cosine_composed(products: Tensor<2>) -> Tensor<1> {
    let ([rows, _], device) = (products.dims(), products.device());
    let same: Vec<bool> = (0..rows * rows).map(|at| at % (rows + 1) == 0).collect();
    let same = Tensor::<2, Bool>::from_data(TensorData::new(same, [rows, rows]), &device);
    let squares = products.clone().mask_fill(same.clone().bool_not(), 0.0).sum_dim(1);
    let squares = squares.clamp_min(LEAST_SQUARE);
    let cosines = products.powi_scalar(2) / (squares.clone() * squares.transpose());
    let pairs = (rows * rows.saturating_sub(1)).max(1);
    cosines.mask_fill(same, 0.0).sum() / pairs as f64
}

/// The sum of absolute values, `[1]`; the slope at 0 is 0.
pub fn abs_sum<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    reduced(x, Reduction::AbsSum, abs_sum_composed)
}

/// The sums of absolute values of tensors, each times its factor, added up, `[1]`: on GPUs twelve tensors are one
/// launch, and one for their gradients. `None` where there are no kernels for it, or no tensors.
pub fn abs_sums(tensors: &[Tensor<3>], factors: &[f64]) -> Option<Tensor<1>> {
    #[cfg(device_kernels)]
    return crate::cube::abs_sums(tensors, factors);
    #[cfg(not(device_kernels))]
    {
        let _ = (tensors, factors);
        None
    }
}

/// [`abs_sum`] composed of Burn's operations.
pub fn abs_sum_composed<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let signs = x.clone().detach().sign();
    (x * signs).sum()
}

fn reduced<const D: usize, const R: usize>(
    x: Tensor<D>,
    reduction: Reduction,
    composed: impl FnOnce(Tensor<D>) -> Tensor<R>,
) -> Tensor<R> {
    let empty = x.dims().contains(&0);
    let x = x.into_dispatch();
    if !empty && kernels(&[&x]).is_some() {
        return Tensor::from_dispatch(Dispatch::reduced(x, reduction));
    }
    composed(Tensor::from_dispatch(x))
}
