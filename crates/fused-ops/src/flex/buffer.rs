#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Shape, TensorData};

/// What a thread takes at a time, about 10 microseconds of work.
const ELEMENTS_PER_TASK: usize = 1 << 14;

/// How many rows of `width` make one task.
pub(super) fn rows_per_task(width: usize) -> usize {
    (ELEMENTS_PER_TASK / width.max(1)).max(1)
}

/// A tensor of f32 on Flex.
pub(super) type Floats = FloatTensor<Flex>;

/// In row-major order; without a copy where it already is, and then without a second handle, so
/// that [`FloatTensor`]'s storage can be changed in place.
pub(super) fn contiguous(tensor: Floats) -> Floats {
    let result = tensor.to_contiguous();
    drop(tensor);
    result
}

/// A tensor of `shape` whose elements `fill` writes.
///
/// # Safety
///
/// `fill` must write every element.
pub(super) unsafe fn filled(shape: Shape, fill: impl FnOnce(&mut [MaybeUninit<f32>])) -> Floats {
    let len = shape.num_elements();
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller promises initialised elements.
    unsafe { values.set_len(len) };
    Floats::from_data(TensorData::new(values, shape))
}
