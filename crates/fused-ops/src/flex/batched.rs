#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;
use rayon::prelude::*;

use super::buffer::{Floats, contiguous, filled};
use crate::kernel;

/// See [`matmul_few_rows`](crate::matmul_few_rows): a matrix of each batch and head is a task.
pub(super) fn few_rows_product(a: Floats, b: Floats) -> Floats {
    let (left, right) = (a.shape(), b.shape());
    let [batch, heads, m, k] = [left[0], left[1], left[2], left[3]];
    let n = right[3];
    assert!(right[0] == batch && right[1] == heads && right[2] == k, "matmul: factors that fit");
    let strides = b.layout().strides();
    let in_rows = strides[3] == 1 && strides[2] == n as isize && n.is_multiple_of(kernel::COLUMNS);
    let in_columns = strides[2] == 1 && strides[3] == k as isize;
    if !(in_rows || in_columns) || strides.iter().any(|stride| *stride < 0) || m * k * n == 0 {
        return Flex::float_matmul(a, b);
    }
    let (first, of_batch, of_head) =
        (b.layout().start_offset(), strides[0] as usize, strides[1] as usize);
    let a = contiguous(a);
    let (x, w) = (a.storage::<f32>(), b.storage::<f32>());
    // SAFETY: each task fills its matrix with zeros before the kernel adds to it or replaces it.
    unsafe {
        filled(Shape::from([batch, heads, m, n]), |out| {
            (out.par_chunks_mut(m * n), x.par_chunks(m * k)).into_par_iter().enumerate().for_each(
                |(matrix, (out, x))| {
                    out.fill(MaybeUninit::new(0.0));
                    let out = out.assume_init_mut();
                    let start = first + matrix / heads * of_batch + matrix % heads * of_head;
                    let w = &w[start..][..k * n];
                    if in_rows {
                        kernel::few_rows_by_columns(x, k, w, n, n, out);
                    } else {
                        kernel::few_rows_by_rows(x, k, w, n, out);
                    }
                },
            );
        })
    }
}
