//! Experts that take a limited number of tokens. Capacities follow from the number of real tokens,
//! which only the device knows, so they stay tensors.

use burn::tensor::{Bool, Tensor};

/// Steps of the bisection in [`best_tokens`].
const BISECTIONS: usize = 32;

/// How many tokens an expert takes, `[1, 1]`: `ceil(factor * real tokens / experts)`.
pub(crate) fn capacity(real: Tensor<2>, factor: f64, experts: usize) -> Tensor<2> {
    // In this order, so that a whole number is not rounded to a little more.
    (real.sum_dim(0) * factor / experts as f64).ceil()
}

/// The tokens that each expert takes of those assigned to it: the first ones, up to its capacity.
///
/// # Shapes
///
/// - `assigned`: `[T, E]`, 1 where assigned, 0 elsewhere and for padding
/// - `capacity`: `[1, 1]`
pub(crate) fn first_tokens(assigned: Tensor<2>, capacity: Tensor<2>) -> Tensor<2, Bool> {
    let shape = assigned.dims();
    let position = assigned.clone().cumsum(0);
    position.lower_equal(capacity.expand(shape)).bool_and(assigned.greater_elem(0.0))
}

/// The tokens with the largest scores for each expert, up to its capacity; of equal ones the first.
///
/// The smallest score taken is found by bisection of [0, 1], so scores that differ by less than
/// `2^-31` count as equal. This takes 32 rounds of `T * E` comparisons, but no sort and no capacity
/// known to the host.
///
/// # Shapes
///
/// - `scores`: `[T, E]`, from 0 to 1
/// - `real`: `[T, 1]`, 1 for a real token, 0 for padding
/// - `capacity`: `[1, 1]`, at most the number of real tokens
pub(crate) fn best_tokens(
    scores: Tensor<2>,
    real: Tensor<2>,
    capacity: Tensor<2>,
) -> Tensor<2, Bool> {
    let scores = scores.without_autodiff();
    let shape = scores.dims();
    let device = scores.device();
    let row = [1, shape[1]];
    let capacity = capacity.expand(row);
    let real = real.expand(shape);
    let at_least =
        |bound: Tensor<2>| scores.clone().greater_equal(bound.expand(shape)).float() * real.clone();
    // At least `capacity` tokens reach `low`, fewer reach `high`.
    let mut low = Tensor::<2>::zeros(row, &device).without_autodiff();
    let mut high = low.clone() + 2.0;
    for _ in 0..BISECTIONS {
        let middle = (low.clone() + high.clone()) * 0.5;
        let enough = at_least(middle.clone()).sum_dim(0).greater_equal(capacity.clone());
        low = low.mask_where(enough.clone(), middle.clone());
        high = middle.mask_where(enough, high);
    }
    let sure = at_least(high);
    let tied = at_least(low) - sure.clone();
    let left = capacity - sure.clone().sum_dim(0);
    first_tokens(tied, left).bool_or(sure.greater_elem(0.0))
}
