use burn::tensor::{DType, Device, Tensor, module};
use quantization::QuantizedMatrix;

#[cfg(feature = "flex")]
use crate::runs_kernels;
use crate::{Precision, Weight, matmul, precision};

/// Whether matrices `[in, out]` of a type are multiplied fastest on a device where their columns lie one after the
/// other, as checkpoints have them: with AMX those of bfloat16 are then left factors of few rows as they are.
pub fn reads_columns(dtype: DType, device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return dtype == DType::BF16
        && device.clone().inner() == Device::flex()
        && crate::kernel::Tiles::Amx.runs();
    #[cfg(not(feature = "flex"))]
    {
        let _ = (dtype, device);
        false
    }
}

/// A linear map of the last axis, `y = x W + bias`: `[.., I]`, `[I, O]`, `[O] -> [.., O]`.
///
/// With `g` for the gradient of the result, those of `x`, `W` and the bias are `g W^T`, `x^T g` and
/// the sum of `g` over the rows, each computed only where it is tracked. `x` is kept only where `W`
/// is tracked, and `W` only where `x` is.
///
/// A constant `W` may be held in a half type or quantised: it is widened to the type of `x` part by
/// part, and the result is that of the widened matrix.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: impl Into<Weight>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    match weight.into() {
        Weight::Dense(weight) => linear_dense(x, weight, bias, Precision::F32),
        Weight::Frozen(weight) => linear_dense(x, weight, bias, precision()),
        Weight::Quantized(matrix) => linear_quantized(x, &matrix, bias),
    }
}

fn linear_dense<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    precision: Precision,
) -> Tensor<D> {
    #[cfg(device_kernels)]
    if fits(&x, weight.dims(), bias.as_ref())
        && let Some(y) = product_on_device(&x, &weight, precision)
    {
        return match bias {
            None => y,
            Some(bias) => y + bias.unsqueeze(),
        };
    }
    let _ = precision;
    #[cfg(feature = "flex")]
    {
        use crate::flex::{HostOps, applies, multiplies};
        use burn::backend::Dispatch;
        let fits = fits(&x, weight.dims(), bias.as_ref()) && constant_half(&x, &weight);
        let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
        let bias = bias.map(Tensor::into_dispatch);
        let applies = applies(&[&x])
            && multiplies(&weight)
            && bias.as_ref().is_none_or(|bias| applies(&[bias]));
        if fits && applies {
            return Tensor::from_dispatch(match bias {
                None => Dispatch::product(x, weight),
                Some(bias) => Dispatch::product_bias(x, weight, bias),
            });
        }
        let bias = bias.map(Tensor::from_dispatch);
        linear_composed(Tensor::from_dispatch(x), Tensor::from_dispatch(weight), bias)
    }
    #[cfg(not(feature = "flex"))]
    linear_composed(x, weight, bias)
}

/// `x W`, where that is for the kernels of GPUs. A half type is that of a constant.
#[cfg(device_kernels)]
fn product_on_device<const D: usize>(
    x: &Tensor<D>,
    weight: &Tensor<2>,
    precision: Precision,
) -> Option<Tensor<D>> {
    use crate::ops::{DeviceOps, Kernels, kernels, place};
    let on_device = kernels(&[&x.clone().into_dispatch()]) == Some(Kernels::Device)
        && place(&weight.clone().into_dispatch().kind) == Some(Kernels::Device);
    if !on_device {
        return None;
    }
    let [inputs, outputs] = weight.dims();
    let mut dims = x.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    let x = x.clone().reshape([rows, inputs]).into_dispatch();
    // bfloat16 as it is, where it is multiplied so.
    let as_held = weight.dtype() == DType::BF16 && precision == Precision::Bf16;
    let weight = match as_held {
        true => weight.clone(),
        false => weight.clone().cast(DType::F32),
    };
    let y = burn::backend::Dispatch::device_product(x, weight.into_dispatch(), precision);
    dims[D - 1] = outputs;
    Some(Tensor::<2>::from_dispatch(y).reshape(dims))
}

fn linear_quantized<const D: usize>(
    x: Tensor<D>,
    matrix: &QuantizedMatrix,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    // Reordering the activations costs less than reordering what the codes stand for.
    let x = match matrix.order() {
        None => x,
        Some(order) => x.select(D - 1, order),
    };
    #[cfg(feature = "flex")]
    if fits(&x, matrix.dims(), bias.as_ref())
        && runs_kernels(&x)
        && let Some(constant) = crate::flex::Constant::of(matrix)
    {
        use crate::flex::HostOps;
        use burn::backend::Dispatch;
        let y = Dispatch::constant_product(x.into_dispatch(), constant, false);
        let y: Tensor<D> = Tensor::from_dispatch(y);
        return match bias {
            None => y,
            Some(bias) => y + bias.unsqueeze(),
        };
    }
    linear_dense(x, matrix.dequantize_stored(), bias, precision())
}

/// [`linear`] as Burn has it, which widens the whole matrix.
pub fn linear_composed<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    let dtype = x.dtype();
    module::linear(x, weight.cast(dtype), bias.map(|bias| bias.cast(dtype)))
}

/// A linear map and a product added to it, `y = x W + bias + h B`: `[T, I]`, `[I, O]`, `[O]`,
/// `[T, K]`, `[K, O] -> [T, O]`.
///
/// The second product is accumulated into the result of the first, and a bias added to both. The
/// gradients of `h` and `B` are `g B^T` and `h^T g`, all others those of [`linear`]; a factor is kept
/// only where the other one of its product is tracked.
pub fn linear_add(
    x: Tensor<2>,
    weight: impl Into<Weight>,
    bias: Option<Tensor<1>>,
    h: Tensor<2>,
    b: Tensor<2>,
) -> Tensor<2> {
    match weight.into() {
        Weight::Dense(weight) => linear_add_dense(x, weight, bias, h, b, Precision::F32),
        Weight::Frozen(weight) => linear_add_dense(x, weight, bias, h, b, precision()),
        Weight::Quantized(matrix) => product_onto(linear_quantized(x, &matrix, bias), h, b),
    }
}

fn linear_add_dense(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    h: Tensor<2>,
    b: Tensor<2>,
    precision: Precision,
) -> Tensor<2> {
    #[cfg(device_kernels)]
    if crate::ops::kernels(&[&x.clone().into_dispatch()]) == Some(crate::ops::Kernels::Device) {
        return linear_dense(x, weight, bias, precision) + matmul(h, b);
    }
    let _ = precision;
    #[cfg(feature = "flex")]
    {
        use crate::flex::{HostOps, applies, multiplies};
        use burn::backend::Dispatch;
        let fits = fits(&x, weight.dims(), None)
            && fits(&h, b.dims(), None)
            && x.dims()[0] == h.dims()[0]
            && weight.dims()[1] == b.dims()[1]
            && constant_half(&x, &weight);
        let [x, weight, h, b] = [x, weight, h, b].map(Tensor::into_dispatch);
        if fits && applies(&[&x, &h, &b]) && multiplies(&weight) {
            let y = Tensor::from_dispatch(Dispatch::product_add(x, weight, h, b));
            return match bias {
                None => y,
                Some(bias) => y + bias.unsqueeze(),
            };
        }
        let [x, weight, h, b] = [x, weight, h, b].map(Tensor::from_dispatch);
        linear_add_composed(x, weight, bias, h, b)
    }
    #[cfg(not(feature = "flex"))]
    linear_add_composed(x, weight, bias, h, b)
}

/// `y + h B`, in the memory of `y` where the kernels run.
fn product_onto(y: Tensor<2>, h: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    #[cfg(feature = "flex")]
    {
        use crate::flex::{HostOps, applies};
        use burn::backend::Dispatch;
        let fits = fits(&h, b.dims(), None) && y.dims() == [h.dims()[0], b.dims()[1]];
        let [y, h, b] = [y, h, b].map(Tensor::into_dispatch);
        if fits && applies(&[&y, &h, &b]) {
            return Tensor::from_dispatch(Dispatch::product_onto(y, h, b));
        }
        let [y, h, b] = [y, h, b].map(Tensor::from_dispatch);
        y + matmul(h, b)
    }
    #[cfg(not(feature = "flex"))]
    {
        y + matmul(h, b)
    }
}

/// [`linear_add`] composed of Burn's operations.
pub fn linear_add_composed(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    h: Tensor<2>,
    b: Tensor<2>,
) -> Tensor<2> {
    linear_composed(x, weight, bias) + h.matmul(b)
}

/// Whether a weight of another type than `x` is a constant, as kernels want it.
#[cfg(feature = "flex")]
pub(crate) fn constant_half<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>) -> bool {
    weight.dtype() == x.dtype() || !weight.is_require_grad()
}

/// Whether the shapes are those of a linear map of rows.
#[cfg(any(feature = "flex", device_kernels))]
fn fits<const D: usize>(
    x: &Tensor<D>,
    [inputs, outputs]: [usize; 2],
    bias: Option<&Tensor<1>>,
) -> bool {
    D > 1 && x.dims()[D - 1] == inputs && bias.is_none_or(|bias| bias.dims() == [outputs])
}
