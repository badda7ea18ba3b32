use burn::tensor::Tensor;
use fused_ops::matmul;

/// The coefficients of an iteration that brings singular values near 1.
const ITERATION: [f64; 3] = [3.4445, -4.775, 2.0315];

/// Iterations of a step.
const ITERATIONS: usize = 5;

/// Muon's update of matrices `[.., rows, columns]`, each by itself, and their momentum.
///
/// With the momentum `v <- m v + g`, the update is that of Nesterov, `u = g + m v`, with its singular
/// values brought near 1: `u <- u / |u|`, then five times `u <- a u + (b + c u u^T) u u^T u`. It is
/// scaled by `0.2 sqrt(max(rows, columns))`, so that its elements are as large as those of AdamW's
/// and a rate that suits AdamW suits it. Burn's takes single matrices; experts are stacked.
///
/// Source: Jordan et al., https://kellerjordan.github.io/posts/muon; the scale: Liu et al.,
/// arXiv 2502.16982, section 2.2.
pub(super) fn muon_update<const D: usize>(
    grad: Tensor<D>,
    momentum: Option<Tensor<D>>,
    decay: f64,
) -> (Tensor<D>, Tensor<D>) {
    let momentum = match momentum {
        Some(before) => before * decay + grad.clone(),
        None => grad.clone(),
    };
    let update = grad + momentum.clone() * decay;
    let shape = update.dims();
    let [rows, columns] = [shape[D - 2], shape[D - 1]];
    let matrices = shape[..D - 2].iter().product();
    let update = orthogonal(update.reshape([matrices, rows, columns])).reshape(shape);
    (update * (0.2 * (rows.max(columns) as f64).sqrt()), momentum)
}

/// Matrices with the singular vectors of `x`, `[N, rows, columns]`, and singular values near 1.
fn orthogonal(x: Tensor<3>) -> Tensor<3> {
    let [_, rows, columns] = x.dims();
    // The product with the transpose is then the smaller one.
    let tall = rows > columns;
    let x = if tall { x.swap_dims(1, 2) } else { x };
    let norm = (x.clone() * x.clone()).sum_dim(2).sum_dim(1).sqrt();
    let mut x = x / (norm + 1e-7);
    let [a, b, c] = ITERATION;
    for _ in 0..ITERATIONS {
        let square = matmul(x.clone(), x.clone().swap_dims(1, 2));
        let terms = square.clone() * b + matmul(square.clone(), square) * c;
        x = x.clone() * a + matmul(terms, x);
    }
    if tall { x.swap_dims(1, 2) } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, Distribution};

    fn random(shape: [usize; 3]) -> Tensor<3> {
        Tensor::random(shape, Distribution::Normal(0.0, 3.0), &Device::flex())
    }

    #[test]
    fn singular_values_come_near_one_whatever_the_shape() {
        for [rows, columns] in [[4, 30], [30, 4], [6, 6]] {
            let x = orthogonal(random([3, rows, columns]));
            assert_eq!(x.dims(), [3, rows, columns]);
            // The iteration aims at values between 0.7 and 1.2; their squares add up to that of `x`.
            let squares = f64::from((x.clone() * x).sum().into_scalar::<f32>());
            let mean = squares / (3 * rows.min(columns)) as f64;
            assert!((0.4..1.5).contains(&mean), "{mean}");
        }
    }

    #[test]
    fn each_expert_is_updated_as_if_alone() {
        let grads = random([2, 5, 9]);
        let momentum = random([2, 5, 9]);
        let (together, after) = muon_update(grads.clone(), Some(momentum.clone()), 0.95);
        for expert in 0..2 {
            let of = |x: &Tensor<3>| x.clone().narrow(0, expert, 1).reshape([5, 9]);
            let (alone, own) = muon_update::<2>(of(&grads), Some(of(&momentum)), 0.95);
            let difference =
                |a: Tensor<2>, b: Tensor<2>| f64::from((a - b).abs().max().into_scalar::<f32>());
            assert!(difference(of(&together), alone) < 1e-6);
            assert!(difference(of(&after), own) < 1e-6);
        }
    }
}
