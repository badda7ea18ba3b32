use burn::tensor::{DType, Tensor};

#[cfg(device_kernels)]
use crate::cube::flat;
pub use crate::ops::AdamWStep;

/// Parameters and their two moments, after a step of AdamW on all of them at once: a few kernels for any
/// number of tensors. Without moments they start at 0.
///
/// `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`, and with `c1 = 1 / (1 - b1^t)` and `c2` alike
/// `p <- p (1 - lr wd) - lr c1 m / (sqrt(c2 v) + epsilon)`, for gradients `g` times
/// [`gradient_scale`](AdamWStep::gradient_scale). `None` where there are no kernels for it: then it is
/// Burn's to make. Source: Loshchilov and Hutter, arXiv 1711.05101, algorithm 2.
pub fn adamw_steps(
    parameters: &[Tensor<1>],
    grads: &[Tensor<1>],
    moments: Option<[&[Tensor<1>]; 2]>,
    step: AdamWStep,
) -> Option<[Vec<Tensor<1>>; 3]> {
    #[cfg(device_kernels)]
    {
        let moments = match moments {
            None => None,
            Some([first, second]) => Some([flat::on_device(first)?, flat::on_device(second)?]),
        };
        let [parameters, grads] = [flat::on_device(parameters)?, flat::on_device(grads)?];
        let fits = parameters.len() == grads.len()
            && moments.iter().flatten().all(|moments| moments.len() == grads.len());
        let stepped = fits.then(|| crate::cube::adamw_steps(&parameters, &grads, moments, step))?;
        Some(stepped.map(flat::to_tensors))
    }
    #[cfg(not(device_kernels))]
    {
        let _ = (parameters, grads, moments, step);
        None
    }
}

/// The sum of the squares of all values of some tensors, `[1]`, of which a norm is made; `None` without
/// any.
pub fn squared_sum(tensors: &[Tensor<1>]) -> Option<Tensor<1>> {
    #[cfg(device_kernels)]
    if let Some(found) = flat::on_device(tensors).filter(|found| !found.is_empty()) {
        let parts = crate::cube::squared_sums(&found)?;
        return flat::to_tensors(vec![parts]).pop().map(Tensor::sum);
    }
    let squares = tensors.iter().map(|values| values.clone().cast(DType::F32).powi_scalar(2).sum());
    squares.reduce(|sum, squares| sum + squares)
}
