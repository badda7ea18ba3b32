use burn::tensor::Tensor;

/// What `each` makes of some parts of a pass that need nothing of each other, in their order.
///
/// `x` says where they are computed. On a CPU, outside of training, the parts are shared among the
/// threads: small operations of one part then need not wait for each other's threads. Elsewhere they
/// are computed one after the other, as on a GPU, where each thread has a queue of its own.
pub fn each_part<T, P, const D: usize>(
    x: &Tensor<D>,
    parts: Vec<P>,
    each: impl Fn(P) -> T + Sync + Send,
) -> Vec<T>
where
    T: Send,
    P: Send,
{
    #[cfg(feature = "flex")]
    if parts.len() > 1 && crate::flex::pages(&[&x.clone().into_dispatch()]) {
        use rayon::prelude::*;
        return parts.into_par_iter().with_max_len(1).map(each).collect();
    }
    let _ = x;
    parts.into_iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn parts_come_in_their_order() {
        let device = Device::flex();
        for device in [device.clone(), device.autodiff()] {
            let x = Tensor::<1>::from_floats([1.0], &device);
            let made = each_part(&x, vec![3, 1, 2], |part| (part, x.clone().into_scalar::<f32>()));
            assert_eq!(made, [(3, 1.0), (1, 1.0), (2, 1.0)]);
        }
    }
}
