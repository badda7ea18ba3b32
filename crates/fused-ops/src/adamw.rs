#[cfg(device_kernels)]
use burn::backend::Dispatch;
use burn::tensor::Tensor;

pub use crate::ops::AdamWStep;
#[cfg(device_kernels)]
use crate::ops::{DeviceOps, Kernels, kernels};

/// A parameter and its two moments, after a step of AdamW.
///
/// `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`, and with `c1 = 1 / (1 - b1^t)` and `c2`
/// alike `p <- p (1 - lr wd) - lr c1 m / (sqrt(c2 v) + epsilon)`. `None` where it has no kernel: then
/// it is Burn's to make. Source: Loshchilov and Hutter, arXiv 1711.05101, algorithm 2.
pub fn adamw_step<const D: usize>(
    parameter: &Tensor<D>,
    grad: &Tensor<D>,
    moments: [&Tensor<D>; 2],
    step: AdamWStep,
) -> Option<[Tensor<D>; 3]> {
    #[cfg(device_kernels)]
    {
        let all = [parameter, grad, moments[0], moments[1]];
        if all.iter().any(|tensor| tensor.dims() != parameter.dims()) {
            return None;
        }
        let [parameter, grad, first, second] = all.map(|tensor| tensor.clone().into_dispatch());
        if kernels(&[&parameter, &grad, &first, &second]) != Some(Kernels::Device) {
            return None;
        }
        let (parameter, first, second) = Dispatch::adamw_step(parameter, grad, first, second, step);
        Some([parameter, first, second].map(Tensor::from_dispatch))
    }
    #[cfg(not(device_kernels))]
    {
        let _ = (parameter, grad, moments, step);
        None
    }
}
