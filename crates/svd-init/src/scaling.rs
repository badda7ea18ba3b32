/// GOAT's scaling `s = sqrt(3 eta I / d)`, for experts of rank `d` on inputs of size `I`.
///
/// `eta` is the ratio of full fine-tuning's learning rate to the adapters'. Source: arXiv
/// 2502.16894, theorem 3.5.
///
/// Where it comes from: let `g` be the gradient with respect to the full weight of an expert.
/// The gradients of its factors are `s B^T g` and `s g A^T`, so a small step of size `1` changes
/// the weight by `g~ = s^2 (B B^T g + g A^T A)`, the *equivalent gradient*. With `B = 0` and the
/// entries of `A` independent with variance `v`, `E[A^T A] = d v 1`, hence `E[g~] = s^2 d v g`.
/// LoRA's start, `U(-1/sqrt(I), 1/sqrt(I))`, has `v = 1 / (3 I)`; `s^2 d / (3 I) = eta` gives the
/// formula. The router's weights are in `g` already, on both sides, so the same holds for each
/// expert of a mixture, however its tokens were chosen.
///
/// What it does not say: it is true on average over `A`. A single draw has
/// `E |g~|^2 = eta^2 |g|^2 (I + d - 1/5) / d`, so the equivalent gradient is about `sqrt(I / d)`
/// times longer than `eta g`, and it is its component along `g` that has the right length. And it
/// is about `B = 0`. With the singular triplets that GOAT itself starts from, the component along
/// a gradient without preferred directions is `s / rho * sum sigma * (1/O + 1/I)` of it, over the
/// expert's own singular values. The tests in `tests/goat_scaling.rs` measure all three.
pub fn theoretical_scaling(eta: f64, in_features: usize, rank: usize) -> f64 {
    (3.0 * eta * in_features as f64 / rank as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_square_root_of_three_eta_i_over_d() {
        assert_eq!(theoretical_scaling(1.0, 24, 2), 6.0);
        assert_eq!(theoretical_scaling(0.25, 48, 1), 6.0);
    }
}
