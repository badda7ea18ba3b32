//! Products of matrices by the crate that Burn's Flex multiplies with, which here writes into fresh
//! memory: Flex itself fills it with zeros first and copies it.

#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata};
use burn::tensor::Shape;
use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use super::buffer::{Floats, contiguous, filled, rows_per_task};
use super::constant::Constant;
use super::few_rows::{self, Right, are_few};
use super::narrow::{is_half, multiply_constant, multiply_half};

/// From this many multiplications on, threads share a product. As in Burn's Flex.
const SHARED: usize = 192 * 192 * 192;

/// `[.., N]` as `[T, N]`; without a copy where the rows are in order.
pub(super) fn rows<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    let shape = tensor.shape();
    let rank = shape.num_dims();
    if rank == 2 {
        return tensor;
    }
    let rows = (0..rank - 1).map(|axis| shape[axis]).product();
    B::float_reshape(tensor, Shape::from([rows, shape[rank - 1]]))
}

/// The sum of the products of `factors`, `[.., K]` with `[K, N]`, and of `bias` `[N]` in each row.
///
/// # Panics
///
/// When the factors do not fit each other.
pub(super) fn sum_of_products<const P: usize>(
    factors: [(Floats, Floats); P],
    bias: Option<Floats>,
) -> Floats {
    let mut shape = factors[0].0.shape();
    let last = shape.num_dims() - 1;
    shape[last] = factors[0].1.shape()[1];
    let width = shape[last];
    let bias = bias.map(contiguous);
    // SAFETY: the bias, or else the first product, writes every element; the others find them.
    unsafe {
        filled(shape, |out| {
            let mut written = false;
            if let Some(bias) = &bias {
                let bias = bias.storage::<f32>();
                assert_eq!(bias.len(), width, "linear: one bias for each output");
                let chunk = (rows_per_task(width) * width).max(1);
                out.par_chunks_mut(chunk).for_each(|out| {
                    for row in out.chunks_exact_mut(width) {
                        row.write_copy_of_slice(bias);
                    }
                });
                written = true;
            }
            for (left, right) in factors {
                let left = rows::<Flex>(left);
                match is_half(&right) {
                    true => multiply_half(&left, &right, out, written),
                    false => multiply(&left, &right, out, written),
                }
                written = true;
            }
        })
    }
}

/// `[.., K]` with a quantised matrix, or with `transposed` with its transpose.
///
/// # Panics
///
/// When the factors do not fit each other.
pub(super) fn constant_product(x: Floats, weight: &Constant, transposed: bool) -> Floats {
    let mut shape = x.shape();
    let last = shape.num_dims() - 1;
    shape[last] = weight.dims()[usize::from(!transposed)];
    let x = rows::<Flex>(x);
    // SAFETY: the product writes every element.
    unsafe { filled(shape, |out| multiply_constant(&x, weight, transposed, out)) }
}

/// `y + h b`, in the memory of `y` where nothing else needs it.
///
/// # Panics
///
/// When the factors do not fit each other.
pub(super) fn product_onto(y: Floats, h: &Floats, b: &Floats) -> Floats {
    let mut y = contiguous(y);
    let out = y.storage_mut::<f32>();
    // SAFETY: elements that are initialised may be written as if they were not, as long as what is
    // written is.
    unsafe {
        let out = std::slice::from_raw_parts_mut(out.as_mut_ptr().cast(), out.len());
        multiply(h, b, out, true);
    }
    y
}

/// `out = a b`, or with `add` `out += a b`: `[M, K]` with `[K, N]`, both with any strides.
///
/// # Safety
///
/// With `add`, `out` must be initialised. Without, it is so afterwards.
unsafe fn multiply(a: &Floats, b: &Floats, out: &mut [MaybeUninit<f32>], add: bool) {
    let (a_shape, b_shape) = (a.shape(), b.shape());
    let (m, k, n) = (a_shape[0], a_shape[1], b_shape[1]);
    assert!(b_shape[0] == k && out.len() == m * n, "linear: factors that fit");
    let (a_strides, b_strides) = (a.layout().strides(), b.layout().strides());
    let in_rows = b_strides == [n as isize, 1];
    let ordered = in_rows || b_strides == [1, k as isize];
    if !add && ordered && a_strides == [k as isize, 1] && are_few([m, k, n]) {
        let x = &a.storage::<f32>()[a.layout().start_offset()..][..m * k];
        let w = Right::F32(&b.storage::<f32>()[b.layout().start_offset()..]);
        if few_rows::multiply(x, k, w, in_rows, n, out) {
            return;
        }
    }
    let values = b.storage::<f32>()[b.layout().start_offset()..].as_ptr();
    let strides = [b_strides[0], b_strides[1]];
    // SAFETY: the layout of `b` stays within its storage, and `out` is `m` rows of `n`; the caller
    // allows reading it with `add`.
    unsafe { gemm_into(a, values, strides, out.as_mut_ptr(), [m, k, n], n, add) };
}

/// `out = a b`, or with `add` `out += a b`: `[m, k]` with `[k, n]`, of given strides, to rows that
/// begin `stride` apart.
///
/// # Safety
///
/// `b` and `out` must be valid for their sizes and strides, and with `add` `out` initialised.
pub(super) unsafe fn gemm_into(
    a: &Floats,
    b: *const f32,
    b_strides: [isize; 2],
    out: *mut MaybeUninit<f32>,
    [m, k, n]: [usize; 3],
    stride: usize,
    add: bool,
) {
    let shared = m.saturating_mul(n).saturating_mul(k) >= SHARED;
    let parallelism = if shared { Parallelism::Rayon(0) } else { Parallelism::None };
    let a_strides = a.layout().strides();
    // SAFETY: the layout of `a` stays within its storage, and the caller promises the rest.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.cast::<f32>(),
            1,
            stride as isize,
            add,
            a.storage::<f32>()[a.layout().start_offset()..].as_ptr(),
            a_strides[1],
            a_strides[0],
            b,
            b_strides[1],
            b_strides[0],
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}
