#[cfg(feature = "flex")]
use burn::tensor::DType;
use burn::tensor::Tensor;

use crate::experts::{gate_experts_composed, scale_up_composed};
#[cfg(feature = "flex")]
use crate::flex::pages;
use crate::matmul;

/// Up to so many rows are few.
#[cfg(feature = "flex")]
const FEW: usize = 32;

/// Whether these are few rows, `[T, I]`, of f32 on a CPU and outside of training: kernels visit them
/// one by one.
pub fn few_rows(x: &Tensor<2>) -> bool {
    #[cfg(feature = "flex")]
    return x.dims()[0] <= FEW && pages(&[&x.clone().into_dispatch()]);
    #[cfg(not(feature = "flex"))]
    {
        let _ = x;
        false
    }
}

/// What low-rank experts add to few rows, `y + s sum_e w_e B_e A_e x`, in the memory of `y` where
/// nothing else needs it.
///
/// Generation has one row, or a few, at each step, and each costs little more than reading the
/// factors. So these are read as they lie, once, and those of experts that a row does not weigh are
/// not read: `2 T R (I + O)` flops for the `R = r * experts` that count. Not differentiable where
/// [`few_rows`].
///
/// # Shapes
///
/// - `y`: `[T, O]`, `x`: `[T, I]`
/// - `a`: `[N, r, I]`, or `[1, r, I]` for all experts; `b`: `[N, O, r]`
/// - `weights`: `[T, N]`, all 1 where absent
pub fn add_low_rank(
    y: Tensor<2>,
    x: Tensor<2>,
    [a, b]: [Tensor<3>; 2],
    weights: Option<Tensor<2>>,
    scaling: f64,
) -> Tensor<2> {
    #[cfg(feature = "flex")]
    if has_kernel([&y, &x], [&a, &b], weights.as_ref()) {
        use crate::flex::LowRankOps;
        use burn::backend::Dispatch;
        let all_ones = || {
            let options = (&x.device(), DType::F32);
            Tensor::ones([x.dims()[0], b.dims()[0]], options)
        };
        let weights = weights.unwrap_or_else(all_ones).into_dispatch();
        let [y, x] = [y, x].map(Tensor::into_dispatch);
        let [a, b] = [a, b].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::add_low_rank(y, x, a, b, weights, scaling));
    }
    add_low_rank_composed(y, x, [a, b], weights, scaling)
}

/// Whether the kernel is for these tensors, and their shapes fit.
#[cfg(feature = "flex")]
fn has_kernel(
    [y, x]: [&Tensor<2>; 2],
    [a, b]: [&Tensor<3>; 2],
    weights: Option<&Tensor<2>>,
) -> bool {
    let ([rows, inputs], [of_a, rank, of_x]) = (x.dims(), a.dims());
    let [experts, outputs, of_b] = b.dims();
    let fits = y.dims() == [rows, outputs]
        && (of_x, of_b) == (inputs, rank)
        && (of_a == experts || of_a == 1)
        && weights.is_none_or(|weights| weights.dims() == [rows, experts]);
    let factors = [a, b].map(|factor| factor.clone().into_dispatch());
    let others = [Some(y), weights].into_iter().flatten();
    fits && few_rows(x)
        && factors.iter().all(|factor| pages(&[factor]))
        && others.into_iter().all(|tensor| pages(&[&tensor.clone().into_dispatch()]))
}

/// [`add_low_rank`] composed of other operations.
pub fn add_low_rank_composed(
    y: Tensor<2>,
    x: Tensor<2>,
    [a, b]: [Tensor<3>; 2],
    weights: Option<Tensor<2>>,
    scaling: f64,
) -> Tensor<2> {
    let ([of_a, rank, inputs], experts) = (a.dims(), b.dims()[0]);
    let hidden = matmul(x, a.reshape([of_a * rank, inputs]).transpose());
    let hidden = match of_a == experts {
        true => hidden,
        false => hidden.repeat_dim(1, experts),
    };
    let hidden = match weights {
        None => hidden,
        Some(weights) => {
            let dtype = hidden.dtype();
            gate_experts_composed(hidden, weights.cast(dtype), rank)
        }
    };
    y + matmul(hidden, scale_up_composed(b, scaling, None))
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_kernel_is_for_factors_that_fit() {
        let two = |shape| Tensor::<2>::zeros(shape, &Device::flex());
        let three = |shape| Tensor::<3>::zeros(shape, &Device::flex());
        let has = |y, x, a, b, weights: Option<[usize; 2]>| {
            let weights = weights.map(two);
            has_kernel([&two(y), &two(x)], [&three(a), &three(b)], weights.as_ref())
        };
        for a in [[3, 4, 5], [1, 4, 5]] {
            assert!(has([2, 7], [2, 5], a, [3, 7, 4], Some([2, 3])));
            assert!(has([2, 7], [2, 5], a, [3, 7, 4], None));
        }
        assert!(!has([2, 6], [2, 5], [3, 4, 5], [3, 7, 4], None));
        assert!(!has([2, 7], [2, 6], [3, 4, 5], [3, 7, 4], None));
        assert!(!has([2, 7], [2, 5], [2, 4, 5], [3, 7, 4], None));
        assert!(!has([2, 7], [2, 5], [3, 4, 5], [3, 7, 3], None));
        assert!(!has([2, 7], [2, 5], [3, 4, 5], [3, 7, 4], Some([2, 2])));
    }
}
