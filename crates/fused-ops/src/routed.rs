use burn::tensor::Tensor;

use crate::matmul;

/// The rows of low-rank experts added to `y`, each expert's for the rows that selected it:
/// `y[t] + sum_e selected[t, e] weights[t, e] x[t] A_e^T U_e`.
///
/// Shapes: `y` `[T, O]`, `x` `[T, I]`, `a` `[E, r, I]`, `up` `[E, r, O]`, `weights` and `selected`
/// `[T, E]`, the latter of 0 and 1 and without a gradient.
///
/// Where the kernels run, the rows of an expert are gathered, multiplied and added in their places,
/// so that the cost follows the number of selected pairs and not `T E`. The backward pass keeps the
/// inputs and does the first product again. An expert that no row selected gets gradients of 0, and
/// so does a weight that is not selected.
pub fn linear_routed(
    y: Tensor<2>,
    x: Tensor<2>,
    a: Tensor<3>,
    up: Tensor<3>,
    weights: Tensor<2>,
    selected: Tensor<2>,
) -> Tensor<2> {
    #[cfg(feature = "flex")]
    {
        use crate::flex::{HostOps, applies};
        use burn::backend::Dispatch;
        let fits = fits(&y, &x, &a, &up, &weights, &selected);
        let (y, x) = (y.into_dispatch(), x.into_dispatch());
        let (a, up) = (a.into_dispatch(), up.into_dispatch());
        let (weights, selected) = (weights.into_dispatch(), selected.detach().into_dispatch());
        if fits && applies(&[&y, &x, &a, &up, &weights, &selected]) {
            let y = Dispatch::linear_routed(y, x, a, up, weights, selected);
            return Tensor::from_dispatch(y);
        }
        linear_routed_composed(
            Tensor::from_dispatch(y),
            Tensor::from_dispatch(x),
            Tensor::from_dispatch(a),
            Tensor::from_dispatch(up),
            Tensor::from_dispatch(weights),
            Tensor::from_dispatch(selected),
        )
    }
    #[cfg(not(feature = "flex"))]
    linear_routed_composed(y, x, a, up, weights, selected)
}

/// [`linear_routed`] composed of Burn's operations: every expert for every row, in two products.
pub fn linear_routed_composed(
    y: Tensor<2>,
    x: Tensor<2>,
    a: Tensor<3>,
    up: Tensor<3>,
    weights: Tensor<2>,
    selected: Tensor<2>,
) -> Tensor<2> {
    let ([tokens, _], [experts, rank, inputs]) = (x.dims(), a.dims());
    let outputs = up.dims()[2];
    let hidden = matmul(x, a.reshape([experts * rank, inputs]).transpose());
    let weights = (weights * selected.detach()).reshape([tokens, experts, 1]);
    let gated = hidden.reshape([tokens, experts, rank]) * weights;
    let up = up.reshape([experts * rank, outputs]);
    y + matmul(gated.reshape([tokens, experts * rank]), up)
}

/// Whether the shapes are those of [`linear_routed`].
#[cfg(feature = "flex")]
fn fits(
    y: &Tensor<2>,
    x: &Tensor<2>,
    a: &Tensor<3>,
    up: &Tensor<3>,
    weights: &Tensor<2>,
    selected: &Tensor<2>,
) -> bool {
    let ([tokens, outputs], [experts, rank, inputs]) = (y.dims(), a.dims());
    x.dims() == [tokens, inputs]
        && up.dims() == [experts, rank, outputs]
        && weights.dims() == [tokens, experts]
        && selected.dims() == [tokens, experts]
}
