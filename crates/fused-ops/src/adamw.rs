#[cfg(device_kernels)]
use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

pub use crate::ops::AdamWStep;
#[cfg(device_kernels)]
use crate::ops::{DeviceOps, Kernels, kernels};

/// A parameter and its two moments, after a step of AdamW; without moments they start at 0.
///
/// `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`, and with `c1 = 1 / (1 - b1^t)` and `c2` alike
/// `p <- p (1 - lr wd) - lr c1 m / (sqrt(c2 v) + epsilon)`. `None` where it has no kernel: then it is
/// Burn's to make. Source: Loshchilov and Hutter, arXiv 1711.05101, algorithm 2.
pub fn adamw_step<const D: usize>(
    parameter: &Tensor<D>,
    grad: &Tensor<D>,
    moments: Option<[&Tensor<D>; 2]>,
    step: AdamWStep,
) -> Option<[Tensor<D>; 3]> {
    #[cfg(device_kernels)]
    {
        let dispatch = |tensor: &Tensor<D>| tensor.clone().into_dispatch();
        let (fits, found) = match moments {
            None => (grad.dims() == parameter.dims(), [None, None]),
            Some(moments) => (
                [grad, moments[0], moments[1]].iter().all(|t| t.dims() == parameter.dims()),
                moments.map(|moment| Some(dispatch(moment))),
            ),
        };
        let (known, grad) = (dispatch(parameter), dispatch(grad));
        let all: Vec<_> = [&known, &grad].into_iter().chain(found.iter().flatten()).collect();
        if !fits || kernels(&all) != Some(Kernels::Device) {
            return None;
        }
        let [first, second] =
            found.map(|moment| moment.unwrap_or_else(|| dispatch(&parameter.zeros_like())));
        let (parameter, first, second) = Dispatch::adamw_step(known, grad, first, second, step);
        Some([parameter, first, second].map(Tensor::from_dispatch))
    }
    #[cfg(not(device_kernels))]
    {
        let _ = (parameter, grad, moments, step);
        None
    }
}

/// The squares of a gradient, added to partial sums of which a norm is made: the sum of all parts is
/// that of all squares. `None` starts; a GPU has parts for many cubes.
pub fn add_squares<const D: usize>(sums: Option<Tensor<1>>, values: Tensor<D>) -> Tensor<1> {
    let values = values.cast(DType::F32);
    #[cfg(device_kernels)]
    {
        /// Cubes that add up a tensor.
        const PARTS: usize = 64;
        let device = values.device();
        let values = values.into_dispatch();
        if kernels(&[&values]) == Some(Kernels::Device) {
            let sums = sums.unwrap_or_else(|| Tensor::zeros([PARTS], (&device, DType::F32)));
            return Tensor::from_dispatch(Dispatch::add_squares(sums.into_dispatch(), values));
        }
        add_squares_composed(sums, Tensor::<D>::from_dispatch(values))
    }
    #[cfg(not(device_kernels))]
    add_squares_composed(sums, values)
}

fn add_squares_composed<const D: usize>(sum: Option<Tensor<1>>, values: Tensor<D>) -> Tensor<1> {
    let squares = values.powi_scalar(2).sum();
    match sum {
        Some(sum) => sum + squares,
        None => squares,
    }
}
