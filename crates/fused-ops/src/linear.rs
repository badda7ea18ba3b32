use burn::tensor::Tensor;
use burn::tensor::module;

/// A linear map of the last axis, `y = x W + bias`: `[.., I]`, `[I, O]`, `[O] -> [.., O]`.
///
/// With `g` for the gradient of the result, those of `x`, `W` and the bias are `g W^T`, `x^T g` and
/// the sum of `g` over the rows, each computed only where it is tracked. `x` is kept only where `W`
/// is tracked, and `W` only where `x` is.
///
/// A constant `W` may be held in a half type: it is widened to the type of `x` part by part, and the
/// result is that of the widened matrix.
pub fn linear<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<D> {
    #[cfg(feature = "flex")]
    {
        use crate::flex::{FusedOps, applies, multiplies};
        use burn::backend::Dispatch;
        let fits = fits(&x, &weight, bias.as_ref()) && constant_half(&x, &weight);
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
/// The second product is accumulated into the result of the first, and a bias added to both. The gradients of `h` and `B` are
/// `g B^T` and `h^T g`, all others those of [`linear`]; a factor is kept only where the other one of
/// its product is tracked.
pub fn linear_add(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    h: Tensor<2>,
    b: Tensor<2>,
) -> Tensor<2> {
    #[cfg(feature = "flex")]
    {
        use crate::flex::{FusedOps, applies, multiplies};
        use burn::backend::Dispatch;
        let fits = fits(&x, &weight, None)
            && fits(&h, &b, None)
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
#[cfg(feature = "flex")]
fn fits<const D: usize>(x: &Tensor<D>, weight: &Tensor<2>, bias: Option<&Tensor<1>>) -> bool {
    let [inputs, outputs] = weight.dims();
    D > 1 && x.dims()[D - 1] == inputs && bias.is_none_or(|bias| bias.dims() == [outputs])
}
