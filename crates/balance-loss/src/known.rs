use burn::tensor::Tensor;

/// A value for each row of `x` `[T, E]` whose derivative by that row is known: `value` `[T, 1]`,
/// `gradient` `[T, E]`.
///
/// Where a formula for the gradient is at hand, this keeps one tensor for the backward pass instead
/// of one for each operation.
pub(crate) fn of_rows(x: Tensor<2>, value: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
    let product = (x * gradient.detach()).sum_dim(1);
    value.detach() + (product.clone() - product.detach())
}

/// As [`of_rows`], of a value `[1, 1]` of a whole matrix.
pub(crate) fn of_all(x: Tensor<2>, value: Tensor<2>, gradient: Tensor<2>) -> Tensor<2> {
    let product = (x * gradient.detach()).sum().reshape([1, 1]);
    value.detach() + (product.clone() - product.detach())
}
