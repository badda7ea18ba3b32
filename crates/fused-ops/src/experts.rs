#[cfg(device_kernels)]
use burn::backend::Dispatch;
use burn::tensor::Tensor;

#[cfg(device_kernels)]
use crate::ops::{DeviceOps, Kernels, kernels};

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
