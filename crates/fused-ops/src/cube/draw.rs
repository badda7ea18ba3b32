use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{beside, each};
use super::{is_empty, kernel};
use crate::Draw;
use crate::ops::DropoutMask;

/// See [`draw`](crate::draw()).
pub(crate) fn draw<const D: usize, const E: usize>(
    shape: [usize; D],
    draw: Draw,
    seed: u64,
    like: &Tensor<E>,
) -> Option<Tensor<D>> {
    let beside_this = like.clone().without_autodiff().try_into_primitive::<CubeBackend>().ok()?;
    if beside_this.dtype != DType::F32 {
        return None;
    }
    let out = beside(&beside_this, Shape::from(shape));
    if !is_empty(&out) {
        fill(&out, draw, seed);
    }
    let drawn = Tensor::from_primitive::<CubeBackend>(out);
    Some(if like.is_autodiff() { drawn.autodiff() } else { drawn })
}

fn fill(out: &CubeTensor, draw: Draw, seed: u64) {
    let (count, dim) = each(out, out.meta.shape().num_elements());
    let (client, result) = (out.client.clone(), out.clone().into_tensor_arg());
    match draw {
        Draw::Kept { p, value } => {
            let DropoutMask { keys: [first, second], threshold, .. } = DropoutMask::new(p, seed);
            let value = value as f32;
            kernel::kept_or_not::launch(
                &client, count, dim, result, first, second, threshold, value,
            );
        }
        Draw::Uniform { low, high } => {
            let [first, second] = DropoutMask::new(0.0, seed).keys;
            let (low, high) = (low as f32, high as f32);
            kernel::uniform::launch(&client, count, dim, result, first, second, low, high);
        }
        Draw::Normal { std } => {
            let [first, second] = DropoutMask::new(0.0, seed).keys;
            kernel::normal::launch(&client, count, dim, result, first, second, std as f32);
        }
    }
}
