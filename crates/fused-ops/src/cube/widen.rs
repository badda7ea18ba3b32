use burn::tensor::{DType, Device, Int, Shape, Tensor, TensorData};
use burn_cubecl::CubeBackend;

use super::launch::{beside, each};
use super::{is_empty, kernel};
use crate::StoredHalves;

/// See [`widened`](crate::widened()).
pub(crate) fn widened<const D: usize>(
    halves: StoredHalves<'_>,
    shape: [usize; D],
    device: &Device,
) -> Option<Tensor<D>> {
    let StoredHalves { bytes, dtype, columns } = halves;
    let brain = match dtype {
        DType::BF16 => true,
        DType::F16 => false,
        _ => return None,
    };
    // Asked before anything large is sent.
    let beside_this = Tensor::<1>::zeros([1], device);
    let autodiff = beside_this.is_autodiff();
    let device = beside_this.without_autodiff();
    let device =
        device.clone().try_into_primitive::<CubeBackend>().ok().map(|_| device.device())?;
    let words = words(bytes);
    let words = TensorData::new(words, [bytes.len().div_ceil(4)]);
    let words = Tensor::<1, Int>::from_data(words, (&device, DType::U32));
    let words = words.try_into_primitive::<CubeBackend>().ok()?;
    let out = beside(&words, Shape::from(shape));
    if !is_empty(&out) {
        let (count, dim) = each(&out, out.meta.shape().num_elements());
        let (client, result) = (out.client.clone(), out.clone().into_tensor_arg());
        let columns = columns.unwrap_or(1) as u32;
        kernel::widened_halves::launch(
            &client,
            count,
            dim,
            words.into_tensor_arg(),
            result,
            columns,
            halves.columns.is_some(),
            brain,
        );
    }
    let widened = Tensor::from_primitive::<CubeBackend>(out);
    Some(if autodiff { widened.autodiff() } else { widened })
}

/// Two halves each, the first in the lower bits.
fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, last) = bytes.as_chunks::<4>();
    let last = <[u8; 2]>::try_from(last).map(|[low, high]| u32::from_le_bytes([low, high, 0, 0]));
    words.iter().map(|word| u32::from_le_bytes(*word)).chain(last.ok()).collect()
}
