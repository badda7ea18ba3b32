use std::thread;

use burn::tensor::{DType, Element, TensorData};
use half::{bf16, f16};
use safetensors::Dtype;

use super::WeightDType;

/// Tensors smaller than this are transposed by one thread.
const PARALLEL_ELEMENTS: usize = 1 << 20;
/// The side of the square blocks of a transposition; two fit into a first-level cache.
const BLOCK: usize = 32;

/// How the elements of a file become elements of a tensor, in row-major order.
#[derive(Clone, Copy)]
pub(super) enum Order {
    /// As stored.
    AsStored,
    /// `[rows, cols]` in the file becomes `[cols, rows]`.
    Transposed { rows: usize, cols: usize },
}

/// Converts little-endian bytes; `None` for an element type that is not a float.
pub(super) fn decode(
    bytes: &[u8],
    stored: Dtype,
    wanted: WeightDType,
    order: Order,
    shape: Vec<usize>,
) -> Option<(TensorData, DType)> {
    // What a stored element is in f32, which holds every value of the others.
    macro_rules! from {
        ($read:expr) => {
            match wanted {
                WeightDType::F32 => pack(bytes, order, shape, |b| $read(b)),
                WeightDType::F16 => pack(bytes, order, shape, |b| f16::from_f32($read(b))),
                WeightDType::BF16 => pack(bytes, order, shape, |b| bf16::from_f32($read(b))),
                WeightDType::AsStored => return None,
            }
        };
    }
    Some(match (stored, wanted) {
        (Dtype::F16, WeightDType::AsStored | WeightDType::F16) => {
            pack(bytes, order, shape, f16::from_le_bytes)
        }
        (Dtype::BF16, WeightDType::AsStored | WeightDType::BF16) => {
            pack(bytes, order, shape, bf16::from_le_bytes)
        }
        (Dtype::F32, WeightDType::AsStored) => pack(bytes, order, shape, f32::from_le_bytes),
        (Dtype::F32, _) => from!(f32::from_le_bytes),
        (Dtype::F16, _) => from!(|b| f16::from_le_bytes(b).to_f32()),
        (Dtype::BF16, _) => from!(|b| bf16::from_le_bytes(b).to_f32()),
        _ => return None,
    })
}

/// Whether all halves, as files have them, are numbers: none has all bits of its exponent set.
pub(super) fn finite_halves(bytes: &[u8], dtype: DType) -> bool {
    let exponent = if dtype == DType::BF16 { 0x7f80 } else { 0x7c00 };
    bytes.as_chunks::<2>().0.iter().all(|half| u16::from_le_bytes(*half) & exponent != exponent)
}

/// Whether everything in decoded data is a number.
pub(super) fn all_finite(data: &TensorData) -> bool {
    fn all<T: Element>(data: &TensorData, finite: impl Fn(&T) -> bool) -> bool {
        data.as_slice::<T>().map_or(true, |values| values.iter().all(finite))
    }
    match data.dtype() {
        DType::F32 => all(data, |value: &f32| value.is_finite()),
        DType::F16 => all(data, |value: &f16| value.is_finite()),
        DType::BF16 => all(data, |value: &bf16| value.is_finite()),
        _ => true,
    }
}

fn pack<const N: usize, T: Element + Default>(
    bytes: &[u8],
    order: Order,
    shape: Vec<usize>,
    convert: impl Fn([u8; N]) -> T + Sync,
) -> (TensorData, DType) {
    let (elements, _) = bytes.as_chunks::<N>();
    let values = match order {
        Order::AsStored => elements.iter().map(|element| convert(*element)).collect(),
        Order::Transposed { rows, cols } => transpose(elements, rows, cols, convert),
    };
    (TensorData::new(values, shape), T::dtype())
}

/// Converts and transposes in square blocks, on all cores where it is worth it.
fn transpose<const N: usize, T: Copy + Default + Send>(
    elements: &[[u8; N]],
    rows: usize,
    cols: usize,
    convert: impl Fn([u8; N]) -> T + Sync,
) -> Vec<T> {
    let mut out = vec![T::default(); rows * cols];
    if out.is_empty() {
        return out;
    }
    let threads = match thread::available_parallelism() {
        Ok(threads) if out.len() >= PARALLEL_ELEMENTS => threads.get(),
        _ => 1,
    };
    let columns_per_thread = cols.div_ceil(threads).next_multiple_of(BLOCK);
    // Fills rows `first..` of the result, which are columns of the source.
    let fill = |first: usize, part: &mut [T]| {
        let columns = part.len() / rows;
        for row_block in (0..rows).step_by(BLOCK) {
            let row_end = (row_block + BLOCK).min(rows);
            for block in (0..columns).step_by(BLOCK) {
                for column in block..(block + BLOCK).min(columns) {
                    let target = &mut part[column * rows + row_block..column * rows + row_end];
                    for (offset, value) in target.iter_mut().enumerate() {
                        *value = convert(elements[(row_block + offset) * cols + first + column]);
                    }
                }
            }
        }
    };
    if threads == 1 {
        fill(0, &mut out);
    } else {
        thread::scope(|scope| {
            for (i, part) in out.chunks_mut(columns_per_thread * rows).enumerate() {
                let fill = &fill;
                scope.spawn(move || fill(i * columns_per_thread, part));
            }
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposition_moves_every_element() {
        for (rows, cols) in [(1, 1), (3, 70), (70, 3), (33, 65), (1100, 1000)] {
            let source: Vec<f32> = (0..rows * cols).map(|i| i as f32).collect();
            let bytes: Vec<[u8; 4]> = source.iter().map(|v| v.to_le_bytes()).collect();
            let result = transpose(&bytes, rows, cols, f32::from_le_bytes);
            for row in 0..rows {
                for col in 0..cols {
                    assert_eq!(result[col * rows + row], source[row * cols + col]);
                }
            }
        }
    }

    #[test]
    fn elements_are_converted_or_stay() {
        let value = bf16::from_f32(1.5);
        let bytes = value.to_le_bytes();
        let order = Order::AsStored;
        let (data, dtype) = decode(&bytes, Dtype::BF16, WeightDType::F32, order, vec![1]).unwrap();
        assert_eq!((data.try_to_vec::<f32>().unwrap(), dtype), (vec![1.5], DType::F32));
        let (data, dtype) =
            decode(&bytes, Dtype::BF16, WeightDType::AsStored, order, vec![1]).unwrap();
        assert_eq!((data.try_to_vec::<bf16>().unwrap(), dtype), (vec![value], DType::BF16));
        let (data, dtype) = decode(&bytes, Dtype::BF16, WeightDType::F16, order, vec![1]).unwrap();
        let half = f16::from_f32(1.5);
        assert_eq!((data.try_to_vec::<f16>().unwrap(), dtype), (vec![half], DType::F16));
        let bytes = 1.5f32.to_le_bytes();
        let (data, dtype) = decode(&bytes, Dtype::F32, WeightDType::BF16, order, vec![1]).unwrap();
        assert_eq!((data.try_to_vec::<bf16>().unwrap(), dtype), (vec![value], DType::BF16));
        assert!(decode(&bytes, Dtype::I16, WeightDType::F32, order, vec![1]).is_none());
    }
}
