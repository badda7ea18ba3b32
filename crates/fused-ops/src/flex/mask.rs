use burn::backend::TensorMetadata;
use burn::tensor::Shape;
use rayon::prelude::*;

use super::buffer::{Floats, contiguous, rows_per_task};
use crate::kernel;

/// A mask below this hides a position.
const HIDDEN: f32 = -1e29;

/// A mask `[B or 1, H or 1, S or 1, T]`, with how much of each row is to be seen.
pub(super) struct Mask<'a> {
    values: &'a [f32],
    width: usize,
    /// In rows, for the batch, head and query; 0 along axes that are broadcast.
    strides: [usize; 3],
    /// The positions up to the last that is not hidden; all where everything is.
    visible: Vec<usize>,
}

impl<'a> Mask<'a> {
    pub(super) fn new(values: &'a [f32], shape: &Shape) -> Self {
        let width = shape[3];
        let stride = |axis: usize, rows: usize| if shape[axis] == 1 { 0 } else { rows };
        let seen = |row: &[f32]| row.iter().rposition(|&x| x.is_nan() || x > HIDDEN);
        let visible = |row: &[f32]| seen(row).map_or(width, |last| last + 1);
        Self {
            values,
            width,
            strides: [stride(0, shape[1] * shape[2]), stride(1, shape[2]), stride(2, 1)],
            visible: values.chunks_exact(width.max(1)).map(visible).collect(),
        }
    }

    fn row(&self, index: [usize; 3]) -> (&[f32], usize) {
        let row: usize = index.iter().zip(self.strides).map(|(i, stride)| i * stride).sum();
        (&self.values[row * self.width..(row + 1) * self.width], self.visible[row])
    }
}

/// The weights of scores `[B, H, S, T]`, in the memory of the scores where nothing else needs it.
pub(super) fn softmax(scores: Floats, mask: Option<&Mask<'_>>) -> Floats {
    let mut y = contiguous(scores);
    let shape = y.shape();
    let (heads, rows, width) = (shape[1], shape[2], shape[3].max(1));
    let task = rows_per_task(width);
    let blocks = y.storage_mut::<f32>().par_chunks_mut(task * width).enumerate();
    blocks.for_each(|(block, values)| {
        for (i, row) in values.chunks_exact_mut(width).enumerate() {
            let row_index = block * task + i;
            let (matrix, query) = (row_index / rows, row_index % rows);
            let (mask, visible) = match mask {
                Some(mask) => mask.row([matrix / heads, matrix % heads, query]),
                None => (&[][..], width),
            };
            kernel::softmax_row(row, mask, visible);
        }
    });
    y
}
