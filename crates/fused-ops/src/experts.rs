#[cfg(device_kernels)]
use burn::backend::Dispatch;
use burn::tensor::Tensor;

#[cfg(device_kernels)]
use crate::down::FEW_PRODUCTS;
#[cfg(device_kernels)]
use crate::ops::{DeviceOps, Kernels, MixtureOps, kernels};
use crate::{Weight, linear, linear_add};

/// What low-rank experts add to an output, `s sum_e weights_e f_e B_e h_e`.
#[derive(Debug, Clone)]
pub struct ExpertSum {
    /// `h`, `[T, E r]`, or `[T, r]` where the experts share it.
    pub hidden: Tensor<2>,
    /// `[T, E]`; all 1 where absent. Of more columns, as a router has that chooses other experts too, the last `E`.
    pub weights: Option<Tensor<2>>,
    /// `B`, `[E, O, r]`.
    pub b: Tensor<3>,
    /// `s`.
    pub scaling: f64,
    /// `f`, `[E]`, constants; all 1 where absent.
    pub factors: Option<Tensor<1>>,
}

impl ExpertSum {
    /// The two factors of the sum, `weights_e h_e`, `[T, E r]`, and `s f_e B_e^T`, `[E r, O]`.
    fn product(self) -> [Tensor<2>; 2] {
        let [experts, _, rank] = self.b.dims();
        let up = scale_up(self.b, self.scaling, self.factors);
        let weights = self.weights.map(|weights| last_columns(weights, experts));
        [gated(self.hidden, weights, experts, rank), up]
    }
}

/// `y` with what experts add, `[T, O]`.
pub fn add_experts(y: Tensor<2>, sum: ExpertSum) -> Tensor<2> {
    #[cfg(device_kernels)]
    let (y, sum) = match added_on_device(y, sum) {
        Ok(added) => return added,
        Err(not) => not,
    };
    add_experts_composed(y, sum)
}

/// [`add_experts`] composed of other operations.
pub fn add_experts_composed(y: Tensor<2>, sum: ExpertSum) -> Tensor<2> {
    let [hidden, up] = sum.product();
    y + linear(hidden, up, None)
}

/// `x W + bias` with what experts add: `[T, I]`, `[I, O]`, `[O]` to `[T, O]`, as [`linear_add`] where one
/// kernel makes both products.
pub fn linear_add_experts(
    x: Tensor<2>,
    weight: impl Into<Weight>,
    bias: Option<Tensor<1>>,
    sum: ExpertSum,
) -> Tensor<2> {
    #[cfg(device_kernels)]
    if crate::runs_device_kernels(&x) {
        return add_experts(linear(x, weight, bias), sum);
    }
    let [hidden, up] = sum.product();
    linear_add(x, weight, bias, hidden, up)
}

/// As one kernel, where that is for these; else what was given.
#[cfg(device_kernels)]
#[allow(clippy::result_large_err)]
fn added_on_device(y: Tensor<2>, sum: ExpertSum) -> Result<Tensor<2>, (Tensor<2>, ExpertSum)> {
    let ([tokens, outputs], [experts, of_b, rank]) = (y.dims(), sum.b.dims());
    let [rows, width] = sum.hidden.dims();
    let products = tokens.saturating_mul(outputs).saturating_mul(experts * rank);
    let fits = products <= FEW_PRODUCTS
        && [rows, of_b] == [tokens, outputs]
        && (width == experts * rank || width == rank)
        && rank > 0
        && crate::runs_device_kernels(&y)
        && crate::runs_device_kernels(&sum.hidden)
        && crate::runs_device_kernels(&sum.b);
    if !fits {
        return Err((y, sum));
    }
    let ExpertSum { hidden, weights, b, scaling, factors } = sum;
    let weights = match (weights, factors) {
        (weights, None) => weights,
        (None, Some(factors)) => Some(factors.unsqueeze_dim::<2>(0).repeat_dim(0, tokens)),
        (Some(weights), Some(factors)) => {
            Some(last_columns(weights, experts) * factors.unsqueeze_dim(0))
        }
    };
    let (hidden, weights) = match width == experts * rank {
        true => (hidden, weights),
        // What experts share becomes a part for each.
        false => {
            let weights = weights.map(|weights| last_columns(weights, experts));
            (gated(hidden, weights, experts, rank), None)
        }
    };
    let [y, hidden] = [y, hidden].map(Tensor::into_dispatch);
    let b = b.into_dispatch();
    Ok(Tensor::from_dispatch(match weights {
        None => Dispatch::add_experts(y, hidden, b, scaling),
        Some(weights) => {
            let weights = weights.cast(burn::tensor::DType::F32).into_dispatch();
            Dispatch::add_gated_experts(y, hidden, weights, b, scaling)
        }
    }))
}

/// The last of the columns of weights.
fn last_columns(weights: Tensor<2>, count: usize) -> Tensor<2> {
    match weights.dims()[1] - count {
        0 => weights,
        others => weights.narrow(1, others, count),
    }
}

/// `weights_e h_e` for `E` experts of rank `r`, `[T, E r]`, from [`ExpertSum`]'s.
fn gated(hidden: Tensor<2>, weights: Option<Tensor<2>>, experts: usize, rank: usize) -> Tensor<2> {
    let [tokens, width] = hidden.dims();
    match weights {
        None if width == experts * rank => hidden,
        None => hidden.repeat_dim(1, experts),
        Some(weights) if width == experts * rank => {
            let dtype = hidden.dtype();
            gate_experts(hidden, weights.cast(dtype), rank)
        }
        Some(weights) => {
            let weights = weights.cast(hidden.dtype()).reshape([tokens, experts, 1]);
            let gated = hidden.reshape([tokens, 1, rank]) * weights;
            gated.reshape([tokens, experts * rank])
        }
    }
}

/// What low-rank experts computed, each expert's part times its weight for the row:
/// `hidden[t, e r + j] * weights[t, e]`, `[T, E r]` and `[T, E]` to `[T, E r]`.
///
/// The gradients are `g * weights` and the sum of `g * hidden` over the part of an expert.
pub fn gate_experts(hidden: Tensor<2>, weights: Tensor<2>, rank: usize) -> Tensor<2> {
    #[cfg(device_kernels)]
    {
        let ([tokens, width], [rows, experts]) = (hidden.dims(), weights.dims());
        let fits = tokens == rows && width == experts * rank && rank > 0;
        let [hidden, weights] = [hidden, weights].map(Tensor::into_dispatch);
        if fits && kernels(&[&hidden, &weights]) == Some(Kernels::Device) {
            return Tensor::from_dispatch(Dispatch::gate_experts(hidden, weights, rank));
        }
        let [hidden, weights] = [hidden, weights].map(Tensor::from_dispatch);
        gate_experts_composed(hidden, weights, rank)
    }
    #[cfg(not(device_kernels))]
    gate_experts_composed(hidden, weights, rank)
}

/// [`gate_experts`] composed of Burn's operations.
pub fn gate_experts_composed(hidden: Tensor<2>, weights: Tensor<2>, rank: usize) -> Tensor<2> {
    let ([tokens, width], [_, experts]) = (hidden.dims(), weights.dims());
    let gated = hidden.reshape([tokens, experts, rank]) * weights.reshape([tokens, experts, 1]);
    gated.reshape([tokens, width])
}

/// The factors `B` of low-rank experts side by side, scaled: `s f_e B_e^T`, `[E, O, r]` and `[E]` to
/// `[E r, O]`; the factors are constants, all 1 where absent. The gradient is scaled back alike.
pub fn scale_up(b: Tensor<3>, scaling: f64, factors: Option<Tensor<1>>) -> Tensor<2> {
    #[cfg(device_kernels)]
    {
        let fits = factors.as_ref().is_none_or(|factors| factors.dims()[0] == b.dims()[0]);
        let b = b.into_dispatch();
        let factors = factors.map(Tensor::into_dispatch);
        let place = match &factors {
            None => kernels(&[&b]),
            Some(factors) => kernels(&[&b, factors]),
        };
        if fits && place == Some(Kernels::Device) {
            return Tensor::from_dispatch(match factors {
                None => Dispatch::scale_up(b, scaling),
                Some(factors) => Dispatch::scale_up_by_expert(b, factors, scaling),
            });
        }
        scale_up_composed(Tensor::from_dispatch(b), scaling, factors.map(Tensor::from_dispatch))
    }
    #[cfg(not(device_kernels))]
    scale_up_composed(b, scaling, factors)
}

/// [`scale_up`] composed of Burn's operations.
pub fn scale_up_composed(b: Tensor<3>, scaling: f64, factors: Option<Tensor<1>>) -> Tensor<2> {
    let [experts, outputs, rank] = b.dims();
    let shape = [experts * rank, outputs];
    let b = b.swap_dims(1, 2);
    match factors {
        None => b.reshape(shape) * scaling,
        Some(factors) => {
            let factors = (factors * scaling).cast(b.dtype()).reshape([experts, 1]);
            (b.reshape([experts, rank * outputs]) * factors).reshape(shape)
        }
    }
}
