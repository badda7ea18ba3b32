use burn::tensor::Tensor;

/// The product of matrices, `[.., M, K]` and `[.., K, N]`, in f32 on every device for tensors of f32.
///
/// Burn's own product rounds its factors to TF32 wherever a GPU has that. It is taken for other types,
/// and where the axes before the last two are not equal.
pub fn matmul<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    #[cfg(device_kernels)]
    {
        use crate::Precision;
        use crate::ops::{DeviceOps, Kernels, kernels};
        let (left, right) = (a.dims(), b.dims());
        let fits = D > 1 && left[..D - 2] == right[..D - 2] && left[D - 1] == right[D - 2];
        let (a, b) = (a.into_dispatch(), b.into_dispatch());
        if fits && kernels(&[&a, &b]) == Some(Kernels::Device) {
            let y = burn::backend::Dispatch::device_product(a, b, Precision::F32);
            return Tensor::from_dispatch(y);
        }
        Tensor::from_dispatch(a).matmul(Tensor::from_dispatch(b))
    }
    #[cfg(not(device_kernels))]
    a.matmul(b)
}

/// The product of few rows with matrices, `a b`: `[B, H, M, K]` with `[B, H, K, N]`, as attention
/// has of one new token with all cached keys and values.
///
/// Such a product is bound by reading `b`, which general products first copy into an order of their
/// own. Up to 16 rows, and where `b` or its transpose lies in rows, the kernel reads each element
/// once, in order. Tensors whose gradients are tracked take [`matmul`].
pub fn matmul_few_rows(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    #[cfg(feature = "flex")]
    {
        use crate::flex::{HostOps, applies};
        use burn::backend::Dispatch;
        let (left, right) = (a.dims(), b.dims());
        let fits = left[..2] == right[..2] && left[3] == right[2] && left[2] <= 16;
        if fits {
            let (a, b) = (a.into_dispatch(), b.into_dispatch());
            if applies(&[&a, &b]) {
                return Tensor::from_dispatch(Dispatch::few_rows_product(a, b));
            }
            return matmul(Tensor::from_dispatch(a), Tensor::from_dispatch(b));
        }
    }
    matmul(a, b)
}
