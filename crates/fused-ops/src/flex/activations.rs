#![allow(unsafe_code)]

use burn::backend::TensorMetadata;
use burn::backend::{Flex, tensor::FloatTensor};
use burn::tensor::{Shape, TensorData};
use rayon::prelude::*;

use super::buffer::{Floats, contiguous, filled, rows_per_task};
use super::mask::{Mask, softmax};
use crate::kernel;
use crate::ops::{ActivationGradients, ActivationOps, DropoutMask};

impl ActivationOps for Flex {
    fn silu_mul(gate: Floats, up: Floats) -> Floats {
        let (gate, up) = (contiguous(gate), contiguous(up));
        let (gate_values, up_values) = (gate.storage::<f32>(), up.storage::<f32>());
        assert_eq!(gate_values.len(), up_values.len(), "silu_mul: one shape");
        let task = rows_per_task(1);
        // SAFETY: the inputs are as long as the result, so the kernel writes all of each chunk.
        unsafe {
            filled(gate.shape(), |out| {
                (
                    out.par_chunks_mut(task),
                    gate_values.par_chunks(task),
                    up_values.par_chunks(task),
                )
                    .into_par_iter()
                    .for_each(|(out, gate, up)| kernel::silu_mul(gate, up, out));
            })
        }
    }

    fn softmax_masked(scores: Floats, mask: Floats) -> Floats {
        let mask = contiguous(mask);
        softmax(scores, Some(&Mask::new(mask.storage::<f32>(), &mask.shape())))
    }

    fn softmax_unmasked(scores: Floats) -> Floats {
        softmax(scores, None)
    }

    fn rms_norm(x: Floats, weight: Floats, eps: f64) -> Floats {
        let (x, weight) = (contiguous(x), contiguous(weight));
        let (values, weight) = (x.storage::<f32>(), weight.storage::<f32>());
        let width = weight.len();
        let chunk = (rows_per_task(width) * width).max(1);
        assert!(width == 0 || values.len().is_multiple_of(width), "rms_norm: rows of the weight");
        // SAFETY: `x` is whole rows and as long as the result, so all of each chunk is written.
        unsafe {
            filled(x.shape(), |out| {
                (out.par_chunks_mut(chunk), values.par_chunks(chunk))
                    .into_par_iter()
                    .for_each(|(out, x)| kernel::rms_norm(x, weight, eps, out));
            })
        }
    }

    fn dropped(x: Floats, p: f64, seed: u64) -> Floats {
        let mask = DropoutMask::new(p, seed);
        let task = rows_per_task(1);
        let first = |chunk: usize| (chunk * task) as u32;
        let mut x = contiguous(x);
        if x.is_unique() {
            let chunks = x.storage_mut::<f32>().par_chunks_mut(task).enumerate();
            chunks.for_each(|(chunk, x)| kernel::dropout_in_place(x, first(chunk), mask));
            return x;
        }
        // SAFETY: `x` is as long as the result, so the kernel writes all of each chunk.
        unsafe {
            filled(x.shape(), |out| {
                (out.par_chunks_mut(task), x.storage::<f32>().par_chunks(task))
                    .into_par_iter()
                    .enumerate()
                    .for_each(|(chunk, (out, x))| kernel::dropout(x, first(chunk), mask, out));
            })
        }
    }

    fn rope_heads(x: Floats, cos: Floats, sin: Floats) -> Floats {
        let shape = x.shape();
        let (b, s, heads, d) = (shape[0], shape[1], shape[2], shape[3]);
        assert!(d.is_multiple_of(2), "rope_heads: pairs of coordinates");
        let (x, cos, sin) = (contiguous(x), contiguous(cos), contiguous(sin));
        let (x, cos, sin) = (x.storage::<f32>(), cos.storage::<f32>(), sin.storage::<f32>());
        let rows = cos.len() / (s * d).max(1);
        let table = |position: usize| position * d..(position + 1) * d;
        // SAFETY: every head of every position has one row in `out`, and is turned into it.
        unsafe {
            filled(Shape::from([b, heads, s, d]), |out| {
                out.par_chunks_mut((s * d).max(1)).enumerate().for_each(|(matrix, out)| {
                    let (batch, head) = (matrix / heads, matrix % heads);
                    for (p, out) in out.chunks_exact_mut(d).enumerate() {
                        let row = table((batch * s + p) * heads + head);
                        let angle = table((batch % rows) * s + p);
                        kernel::turn(&x[row], &cos[angle.clone()], &sin[angle], out);
                    }
                });
            })
        }
    }

    fn exp_less(logits: Floats, less: Floats) -> Floats {
        let (mut logits, less) = (contiguous(logits), contiguous(less));
        let width = logits.shape()[1].max(1);
        let rows = logits.storage_mut::<f32>().par_chunks_exact_mut(width);
        rows.zip(less.storage::<f32>()).for_each(|(row, less)| {
            kernel::exp_less(row, width, std::slice::from_ref(less));
        });
        logits
    }
}

impl ActivationGradients for Flex {
    fn silu_mul_backward(gate: Floats, up: Floats, grad: Floats) -> [Floats; 2] {
        let (gate, up, mut grad) = (contiguous(gate), contiguous(up), contiguous(grad));
        let shape = gate.shape();
        let (gate, up) = (gate.storage::<f32>(), up.storage::<f32>());
        let gate_grad = grad.storage_mut::<f32>();
        assert!(gate.len() == up.len() && gate.len() == gate_grad.len(), "silu_mul: one shape");
        let task = rows_per_task(1);
        // SAFETY: all inputs are as long as the result, so the kernel writes all of each chunk.
        let up_grad = unsafe {
            filled(shape, |up_grad| {
                let outputs = (gate_grad.par_chunks_mut(task), up_grad.par_chunks_mut(task));
                (outputs.0, outputs.1, gate.par_chunks(task), up.par_chunks(task))
                    .into_par_iter()
                    .for_each(|(grad, up_grad, gate, up)| {
                        kernel::silu_mul_backward(gate, up, grad, up_grad);
                    });
            })
        };
        [grad, up_grad]
    }

    fn softmax_backward(y: Floats, grad: Floats) -> Floats {
        let (y, mut grad) = (contiguous(y), contiguous(grad));
        let width = y.shape()[3].max(1);
        let chunk = rows_per_task(width) * width;
        (grad.storage_mut::<f32>().par_chunks_mut(chunk), y.storage::<f32>().par_chunks(chunk))
            .into_par_iter()
            .for_each(|(grad, y)| {
                for (grad, y) in grad.chunks_exact_mut(width).zip(y.chunks_exact(width)) {
                    kernel::softmax_backward(y, grad);
                }
            });
        grad
    }

    fn rms_norm_backward(
        x: Floats,
        weight: Floats,
        eps: f64,
        grad: Floats,
        weight_too: bool,
    ) -> (Floats, Option<Floats>) {
        let (x, weight, mut grad) = (contiguous(x), contiguous(weight), contiguous(grad));
        let (values, weight) = (x.storage::<f32>(), weight.storage::<f32>());
        let width = weight.len();
        let chunk = (rows_per_task(width) * width).max(1);
        let chunks = (grad.storage_mut::<f32>().par_chunks_mut(chunk), values.par_chunks(chunk));
        let chunks = chunks.into_par_iter();
        if !weight_too {
            chunks.for_each(|(g, x)| kernel::rms_norm_backward(x, weight, eps, g, None));
            return (grad, None);
        }
        // Summed in the order of the rows, so that the result does not depend on scheduling.
        let partial: Vec<Vec<f32>> = chunks
            .map(|(g, x)| {
                let mut sums = vec![0.0f32; width];
                kernel::rms_norm_backward(x, weight, eps, g, Some(&mut sums));
                sums
            })
            .collect();
        let mut sums = vec![0.0f32; width];
        for partial in partial {
            sums.iter_mut().zip(partial).for_each(|(sum, part)| *sum += part);
        }
        (grad, Some(Floats::from_data(TensorData::new(sums, [width]))))
    }

    fn rope_heads_backward(cos: Floats, sin: Floats, grad: Floats) -> FloatTensor<Self> {
        let shape = grad.shape();
        let (b, heads, s, d) = (shape[0], shape[1], shape[2], shape[3]);
        assert!(d.is_multiple_of(2), "rope_heads: pairs of coordinates");
        let (grad, cos, sin) = (contiguous(grad), contiguous(cos), contiguous(sin));
        let (grad, cos, sin) = (grad.storage::<f32>(), cos.storage::<f32>(), sin.storage::<f32>());
        let rows = cos.len() / (s * d).max(1);
        let table = |position: usize| position * d..(position + 1) * d;
        let positions = rows_per_task(heads * d);
        // SAFETY: every head of every position has one row in `out`, and is turned into it.
        unsafe {
            filled(Shape::from([b, s, heads, d]), |out| {
                out.par_chunks_mut((positions * heads * d).max(1)).enumerate().for_each(
                    |(chunk, out)| {
                        for (i, out) in out.chunks_exact_mut(d).enumerate() {
                            let (position, head) = (chunk * positions + i / heads, i % heads);
                            let (batch, p) = (position / s, position % s);
                            let row = table((batch * heads + head) * s + p);
                            let angle = table((batch % rows) * s + p);
                            kernel::turn_back(&grad[row], &cos[angle.clone()], &sin[angle], out);
                        }
                    },
                );
            })
        }
    }
}
