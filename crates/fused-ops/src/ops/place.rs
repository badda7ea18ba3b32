use burn::backend::{DispatchTensor, DispatchTensorKind, TensorMetadata};
use burn::tensor::DType;

/// Whose kernels take some tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernels {
    /// Those for CPUs, on Flex.
    #[cfg_attr(not(feature = "flex"), allow(dead_code))]
    Host,
    /// Those for GPUs, on any backend of CubeCL.
    #[cfg_attr(not(device_kernels), allow(dead_code))]
    Device,
}

/// Whose kernels take these tensors, tracked or not: all f32, and on one kind of device. `None` where
/// the operation is composed of Burn's.
pub(crate) fn kernels(tensors: &[&DispatchTensor]) -> Option<Kernels> {
    let mut places = tensors.iter().map(|tensor| {
        let f32 = tensor.kind.dtype() == DType::F32;
        f32.then(|| place(&tensor.kind)).flatten()
    });
    let first = places.next()??;
    places.all(|place| place == Some(first)).then_some(first)
}

/// Whose kernels there are for a tensor of a backend.
pub(crate) fn place(kind: &DispatchTensorKind) -> Option<Kernels> {
    match kind {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => Some(Kernels::Host),
        #[cfg(device_kernels)]
        DispatchTensorKind::Cube(_) => Some(Kernels::Device),
        DispatchTensorKind::Autodiff(inner) => match &**inner {
            DispatchTensorKind::Autodiff(_) => None,
            inner => place(inner),
        },
        #[allow(unreachable_patterns)]
        _ => None,
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use burn::tensor::{Device, Tensor};

    #[test]
    fn the_kernels_take_f32() {
        let plain = Tensor::<2>::ones([2, 3], &Device::flex());
        let tracked = plain.clone().autodiff().require_grad();
        let half = plain.clone().cast(DType::F16).into_dispatch();
        let [plain, tracked] = [plain, tracked].map(Tensor::into_dispatch);
        assert_eq!(kernels(&[&plain, &tracked]), Some(Kernels::Host));
        assert_eq!(kernels(&[&plain, &half]), None);
    }
}
