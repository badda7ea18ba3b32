#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ops::Range;

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Shape, TensorData};
use gemm::{Parallelism, gemm};
use rayon::prelude::*;

use super::buffer::{Floats, contiguous, filled, rows_per_task};
use super::product::sum_of_products;
use crate::kernel;
use crate::ops::{LEAST_SQUARE, Reduction, ReductionGradients, ReductionOps};

/// Of the long axis of a Gram matrix a task takes so many columns, whatever the number of threads: the
/// order of additions does not depend on it.
const COLUMNS: usize = 1024;

impl ReductionOps for Flex {
    fn reduced(x: Floats, reduction: Reduction) -> Floats {
        let x = contiguous(x);
        match reduction {
            Reduction::LogSumExp => of_rows(&x, kernel::log_sum_exp),
            Reduction::Entropy => of_rows(&x, kernel::entropy),
            Reduction::Gram => gram(&x),
            Reduction::MeanSquaredCosine => mean_squared_cosine(&x),
            Reduction::AbsSum => abs_sum(&x),
        }
    }
}

impl ReductionGradients for Flex {
    fn reduced_backward(x: Floats, y: Floats, grad: Floats, reduction: Reduction) -> Floats {
        let (x, grad) = (contiguous(x), contiguous(grad));
        match reduction {
            Reduction::LogSumExp => {
                let y = contiguous(y);
                let [y, grad] = [&y, &grad].map(|tensor| tensor.storage::<f32>());
                to_rows(&x, |rows, x, width, out| {
                    let y_and_grad = [y, grad].map(|of_rows| &of_rows[rows.clone()]);
                    kernel::log_sum_exp_backward(x, width, y_and_grad, out);
                })
            }
            Reduction::Entropy => {
                let grad = grad.storage::<f32>();
                to_rows(&x, |rows, x, width, out| {
                    kernel::entropy_backward(x, width, &grad[rows], out);
                })
            }
            Reduction::Gram => sum_of_products([(with_transposed(&grad), x)], None),
            Reduction::MeanSquaredCosine => mean_squared_cosine_backward(&x, &grad),
            Reduction::AbsSum => {
                let grad = grad.storage::<f32>()[0];
                to_rows(&x, |_, x, _, out| kernel::abs_sum_backward(x, grad, out))
            }
        }
    }
}

/// A number for each row of `[T, N]`, `[T]`.
fn of_rows(x: &Floats, reduce: impl Fn(&[f32], usize, &mut [f32]) + Sync) -> Floats {
    let shape = x.shape();
    let (rows, width) = (shape[0], shape[1]);
    let task = rows_per_task(width);
    let mut sums = vec![0.0f32; rows];
    (sums.par_chunks_mut(task), x.storage::<f32>().par_chunks(task * width))
        .into_par_iter()
        .for_each(|(out, x)| reduce(x, width, out));
    Floats::from_data(TensorData::new(sums, [rows]))
}

/// What is as large as `x`, some rows at a time: `write` gets their numbers, themselves, their width
/// and where to write.
fn to_rows(
    x: &Floats,
    write: impl Fn(Range<usize>, &[f32], usize, &mut [MaybeUninit<f32>]) + Sync,
) -> Floats {
    let shape = x.shape();
    let width = shape[shape.num_dims() - 1];
    let task = rows_per_task(width);
    // SAFETY: `out` is as long as `x`, which is whole rows, and the kernels write all of each chunk.
    unsafe {
        filled(x.shape(), |out| {
            let out = out.par_chunks_mut(task * width);
            (out, x.storage::<f32>().par_chunks(task * width))
                .into_par_iter()
                .enumerate()
                .for_each(|(chunk, (out, x))| {
                    let first = chunk * task;
                    write(first..first + x.len() / width, x, width, out);
                });
        })
    }
}

/// `x x^T`, of `[E, K]`.
fn gram(x: &Floats) -> Floats {
    let shape = x.shape();
    let (rows, columns) = (shape[0], shape[1]);
    let values = x.storage::<f32>();
    let parts: Vec<Vec<f32>> = (0..columns.div_ceil(COLUMNS))
        .into_par_iter()
        .map(|part| {
            let first = part * COLUMNS;
            let mut products = vec![0.0f32; rows * rows];
            let from = values[first..].as_ptr();
            // SAFETY: the last row's columns end within `values`, and `products` is `[E, E]`.
            unsafe {
                gemm(
                    rows,
                    rows,
                    COLUMNS.min(columns - first),
                    products.as_mut_ptr(),
                    1,
                    rows as isize,
                    false,
                    from,
                    1,
                    columns as isize,
                    from,
                    columns as isize,
                    1,
                    0.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
            products
        })
        .collect();
    let sum = parts.into_iter().reduce(|mut sum, part| {
        sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        sum
    });
    let sum = sum.unwrap_or_else(|| vec![0.0; rows * rows]);
    Floats::from_data(TensorData::new(sum, [rows, rows]))
}

/// `g + g^T`, of `[E, E]`.
fn with_transposed(grad: &Floats) -> Floats {
    let size = grad.shape()[0];
    let values = grad.storage::<f32>();
    let sum = (0..size * size).map(|at| values[at] + values[at % size * size + at / size]);
    Floats::from_data(TensorData::new(sum.collect::<Vec<f32>>(), [size, size]))
}

/// `p_ij / (p_ii p_jj)` of one row `i` after the other, and 0 for `j = i`.
fn slopes(p: &[f32], size: usize) -> impl Iterator<Item = Vec<f64>> {
    let square = |row: usize| f64::from(p[row * (size + 1)].max(LEAST_SQUARE));
    let inverse: Vec<f64> = (0..size).map(|row| 1.0 / square(row)).collect();
    p.chunks_exact(size).enumerate().map(move |(row, p)| {
        let others = p.iter().zip(&inverse);
        let slopes = others.map(|(p, of_other)| f64::from(*p) * of_other * inverse[row]);
        let mut slopes: Vec<f64> = slopes.collect();
        slopes[row] = 0.0;
        slopes
    })
}

fn pairs(size: usize) -> f64 {
    (size * (size - 1)).max(1) as f64
}

fn sum_of_products_with(slopes: &[f64], p: &[f32]) -> f64 {
    slopes.iter().zip(p).map(|(slope, p)| slope * f64::from(*p)).sum()
}

fn mean_squared_cosine(products: &Floats) -> Floats {
    let size = products.shape()[0];
    let p = products.storage::<f32>();
    let rows = slopes(p, size).zip(p.chunks_exact(size));
    let sum: f64 = rows.map(|(slopes, p)| sum_of_products_with(&slopes, p)).sum();
    Floats::from_data(TensorData::new(vec![(sum / pairs(size)) as f32], [1]))
}

/// `2 p_ij / (p_ii p_jj)` for pairs and `-2 sum_j p_ij^2 / (p_ii^2 p_jj)` on the diagonal, both over
/// the number of pairs.
fn mean_squared_cosine_backward(products: &Floats, grad: &Floats) -> Floats {
    let size = products.shape()[0];
    let p = products.storage::<f32>();
    let scale = 2.0 * f64::from(grad.storage::<f32>()[0]) / pairs(size);
    let mut gradient = Vec::with_capacity(size * size);
    for (row, (mut slopes, p)) in slopes(p, size).zip(p.chunks_exact(size)).enumerate() {
        let square = f64::from(p[row].max(LEAST_SQUARE));
        slopes[row] = -sum_of_products_with(&slopes, p) / square;
        gradient.extend(slopes.iter().map(|slope| (slope * scale) as f32));
    }
    Floats::from_data(TensorData::new(gradient, [size, size]))
}

fn abs_sum(x: &Floats) -> Floats {
    let parts: Vec<f64> = x
        .storage::<f32>()
        .par_chunks(rows_per_task(1))
        .map(|x| {
            let mut sum = 0.0;
            kernel::abs_sum(x, &mut sum);
            sum
        })
        .collect();
    let sum = parts.iter().sum::<f64>() as f32;
    Floats::from_data(TensorData::new(vec![sum], Shape::from([1])))
}
