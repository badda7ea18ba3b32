use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::{Shape, TensorData};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::launch::{beside, by_row};
use super::product::product;
use super::{is_empty, kernel, rows};
use crate::Precision;
use crate::ops::{
    ActivationOps, LEAST_PROBABILITY, LEAST_SQUARE, Reduction, ReductionGradients, ReductionOps,
};

impl ReductionOps for CubeBackend {
    fn reduced(x: CubeTensor, reduction: Reduction) -> CubeTensor {
        match reduction {
            Reduction::LogSumExp => log_sum_exp(x),
            Reduction::Entropy => {
                let rows = x.shape()[0];
                let p = Self::float_clamp_min(x, LEAST_PROBABILITY.into());
                let terms = Self::float_mul(p.clone(), Self::float_log(p));
                Self::float_neg(column(Self::float_sum_dim(terms, 1), [rows]))
            }
            Reduction::Gram => {
                let transposed = Self::float_transpose(x.clone());
                product(x, transposed, Precision::F32)
            }
            Reduction::MeanSquaredCosine => {
                let pairs = Pairs::of(&x);
                let terms = Self::float_mul(x, pairs.slopes);
                column(Self::float_sum(terms), [1])
            }
            Reduction::AbsSum => column(Self::float_sum(Self::float_abs(x)), [1]),
        }
    }
}

impl ReductionGradients for CubeBackend {
    fn reduced_backward(
        x: CubeTensor,
        y: CubeTensor,
        grad: CubeTensor,
        reduction: Reduction,
    ) -> CubeTensor {
        match reduction {
            Reduction::LogSumExp => {
                let rows = x.shape()[0];
                Self::float_mul(Self::exp_less(x, y), column(grad, [rows, 1]))
            }
            Reduction::Entropy => {
                let rows = x.shape()[0];
                let p = Self::float_clamp_min(x, LEAST_PROBABILITY.into());
                let above = Self::float_add_scalar(p.clone(), (-LEAST_PROBABILITY).into());
                let slopes = Self::float_add_scalar(Self::float_log(p), 1.0.into());
                let slopes = Self::float_mul(slopes, Self::float_sign(above));
                Self::float_mul(slopes, column(Self::float_neg(grad), [rows, 1]))
            }
            Reduction::Gram => {
                let both = Self::float_add(grad.clone(), Self::float_transpose(grad));
                product(both, x, Precision::F32)
            }
            Reduction::MeanSquaredCosine => {
                let Pairs { slopes, squares, same } = Pairs::of(&x);
                let sums = Self::float_sum_dim(Self::float_mul(x, slopes.clone()), 1);
                let own = Self::float_mul(same, Self::float_div(sums, squares));
                let double = Self::float_mul_scalar(Self::float_sub(slopes, own), 2.0.into());
                Self::float_mul(double, column(grad, [1, 1]))
            }
            Reduction::AbsSum => {
                let shape = Shape::from(vec![1; x.shape().num_dims()]);
                Self::float_mul(Self::float_sign(x), Self::float_reshape(grad, shape))
            }
        }
    }
}

fn column<const D: usize>(tensor: CubeTensor, shape: [usize; D]) -> CubeTensor {
    CubeBackend::float_reshape(tensor, Shape::from(shape))
}

/// What the mean squared cosine of products `[E, E]` and its gradient are made of.
struct Pairs {
    /// `p_ij / (p_ii p_jj)` over the number of pairs, and 0 on the diagonal.
    slopes: CubeTensor,
    /// `p_ii`, `[E, 1]`.
    squares: CubeTensor,
    /// 1 on the diagonal.
    same: CubeTensor,
}

impl Pairs {
    fn of(products: &CubeTensor) -> Self {
        type B = CubeBackend;
        let size = products.shape()[0];
        let of = |value: fn(bool) -> f32| {
            let values = (0..size * size).map(|at| value(at % (size + 1) == 0)).collect::<Vec<_>>();
            B::float_from_data(TensorData::new(values, [size, size]), &products.device)
        };
        let (same, others) =
            (of(|same| f32::from(u8::from(same))), of(|same| f32::from(u8::from(!same))));
        let own = B::float_sum_dim(B::float_mul(products.clone(), same.clone()), 1);
        let squares = B::float_clamp_min(own, LEAST_SQUARE.into());
        let of_two = B::float_mul(squares.clone(), B::float_transpose(squares.clone()));
        let pairs = (size * size.saturating_sub(1)).max(1) as f64;
        let others = B::float_div_scalar(others, pairs.into());
        let slopes = B::float_mul(B::float_div(products.clone(), of_two), others);
        Self { slopes, squares, same }
    }
}

fn log_sum_exp(logits: CubeTensor) -> CubeTensor {
    let logits = into_contiguous(logits);
    let (rows, width) = rows(&logits);
    let out = beside(&logits, Shape::from([rows]));
    if !is_empty(&logits) {
        let (count, dim, units) = by_row(&out, rows, width);
        let client = out.client.clone();
        let (logits, result) = (logits.into_tensor_arg(), out.clone().into_tensor_arg());
        kernel::log_sum_exp::launch(&client, count, dim, logits, result, rows, width, units);
    }
    out
}
