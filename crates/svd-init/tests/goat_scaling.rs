//! What GOAT's theorem says of the scaling, measured on a mixture of experts.
//!
//! The mixture is `y = W x + s sum_e w_e(x) B_e A_e x` with the two largest of four routing
//! probabilities, renormalised. Full fine-tuning of the same mixture trains a matrix `D_e` per
//! expert, `y = W x + sum_e w_e(x) D_e x`; its gradient at 0 is `g_e`. A small step of gradient
//! descent on `A_e` and `B_e` changes `s B_e A_e` by `-lr g~_e`, where
//! `g~_e = s (B_e dL/dA_e + dL/dB_e A_e)` is the equivalent gradient.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod common;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use common::{dot, lora_a, lora_b, norm, random, scaling, shape_of};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use svd_init::{
    BankShape, ExpertInit, ExpertStart, GoatConfig, InitConfig, LayerStatistics,
    theoretical_scaling,
};

const IN: usize = 96;
const OUT: usize = 64;
const RANK: usize = 4;
const EXPERTS: usize = 4;
const TOKENS: usize = 160;
const DRAWS: u64 = 150;

/// A linear with a router, some tokens, and what they should become.
struct Problem {
    /// `[in, out]`.
    weight: Tensor<2>,
    x: Tensor<2>,
    target: Tensor<2>,
    /// The weight of each expert for each token, `[tokens, experts]`.
    routing: Tensor<2>,
}

impl Problem {
    fn new() -> Self {
        let x = random(TOKENS, IN, 1);
        let logits = x.clone().matmul(random(IN, EXPERTS, 2) / (IN as f64).sqrt());
        let probabilities = softmax(logits, 1);
        let second = probabilities.clone().topk(2, 1).slice([0..TOKENS, 1..2]);
        let selected = probabilities.clone().greater_equal(second.expand([TOKENS, EXPERTS]));
        let kept = probabilities * selected.float();
        let routing = kept.clone() / kept.sum_dim(1);
        let weight = random(IN, OUT, 3) / (IN as f64).sqrt();
        Self { weight, x, target: random(TOKENS, OUT, 4), routing }
    }

    /// The experts' sizes, with the scaling `s`.
    fn shape(&self, s: f64) -> BankShape {
        BankShape { scaling: s, ..shape_of(&self.weight, EXPERTS, RANK) }
    }

    /// The loss where expert `e` adds `deltas[e]` `[in, out]` to the weight.
    fn loss(&self, weight: &Tensor<2>, deltas: &[Tensor<2>]) -> Tensor<1> {
        let device = deltas[0].device();
        let on = |tensor: &Tensor<2>| Tensor::<2>::from_data(tensor.to_data(), &device);
        let (x, routing) = (on(&self.x), on(&self.routing));
        let mut y = x.clone().matmul(on(weight));
        for (expert, delta) in deltas.iter().enumerate() {
            let share = routing.clone().slice([0..TOKENS, expert..expert + 1]);
            y = y + x.clone().matmul(delta.clone()) * share;
        }
        (y - on(&self.target)).powi_scalar(2).mean()
    }

    /// `g_e` of all experts, `[in, out]`, for a frozen `weight` and what the experts add.
    fn full_gradients(&self, weight: &Tensor<2>, deltas: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let device = Device::flex().autodiff();
        let tracked =
            |delta: &Tensor<2>| Tensor::<2>::from_data(delta.to_data(), &device).require_grad();
        let deltas: Vec<_> = deltas.iter().map(tracked).collect();
        let grads = self.loss(weight, &deltas).backward();
        deltas.iter().map(|delta| delta.grad(&grads).unwrap()).collect()
    }

    /// `g~_e` of all experts, `[in, out]`.
    fn equivalent_gradients(&self, start: &ExpertStart, shape: &BankShape) -> Vec<Tensor<2>> {
        let residual = common::residual(&self.weight, start, shape);
        let device = Device::flex().autodiff();
        let tracked =
            |factor: Tensor<2>| Tensor::<2>::from_data(factor.to_data(), &device).require_grad();
        let a: Vec<_> = (0..EXPERTS).map(|e| tracked(lora_a(start, e))).collect();
        let b: Vec<_> = (0..EXPERTS).map(|e| tracked(lora_b(start, e))).collect();
        let deltas: Vec<_> = (0..EXPERTS)
            .map(|e| b[e].clone().matmul(a[e].clone()).transpose() * scaling(start, shape, e))
            .collect();
        let grads = self.loss(&residual, &deltas).backward();
        let of = |e: usize| {
            let (grad_a, grad_b) = (a[e].grad(&grads).unwrap(), b[e].grad(&grads).unwrap());
            let change = lora_b(start, e).matmul(grad_a) + grad_b.matmul(lora_a(start, e));
            change.transpose() * scaling(start, shape, e)
        };
        (0..EXPERTS).map(of).collect()
    }

    fn lora(&self, shape: &BankShape, seed: u64) -> ExpertStart {
        let mut rng = SmallRng::seed_from_u64(seed);
        let statistics = LayerStatistics::default();
        InitConfig::Lora.start(&self.weight, shape, &statistics, &mut rng).unwrap()
    }

    /// Means over draws of `A` and experts: of the component of `g~` along `g`, and of
    /// `|g~|^2 / |g|^2`.
    fn measured(&self, s: f64) -> (f64, f64) {
        let nothing = vec![Tensor::zeros([IN, OUT], &Device::flex()); EXPERTS];
        let full = self.full_gradients(&self.weight, &nothing);
        let (mut along, mut size) = (0.0, 0.0);
        let shape = self.shape(s);
        for seed in 0..DRAWS {
            let equivalent = self.equivalent_gradients(&self.lora(&shape, seed), &shape);
            for (equivalent, full) in equivalent.iter().zip(&full) {
                let squared = dot(full, full);
                along += dot(equivalent, full) / squared;
                size += dot(equivalent, equivalent) / squared;
            }
        }
        let count = (DRAWS * EXPERTS as u64) as f64;
        println!("s {s:.3}: {:.4} along, {:.2} in size", along / count, size / count);
        (along / count, size / count)
    }
}

fn assert_close(value: f64, expected: f64, tolerance: f64) {
    let ratio = value / expected;
    assert!((ratio - 1.0).abs() < tolerance, "{value} instead of {expected}");
}

#[test]
fn equivalent_gradient_is_the_change_of_a_small_step() {
    let problem = Problem::new();
    let shape = problem.shape(theoretical_scaling(1.0, IN, RANK));
    let goat = InitConfig::Goat(GoatConfig::default());
    let mut rng = SmallRng::seed_from_u64(0);
    let statistics = LayerStatistics::default();
    let start = goat.start(&problem.weight, &shape, &statistics, &mut rng).unwrap();
    let equivalent = problem.equivalent_gradients(&start, &shape);

    // `g~ = s^2 (B B^T g + g A^T A)`, with `g` the full gradient at the same function.
    let deltas: Vec<_> =
        (0..EXPERTS).map(|e| common::product(&start, e) * scaling(&start, &shape, e)).collect();
    let residual = common::residual(&problem.weight, &start, &shape);
    let full = problem.full_gradients(&residual, &deltas);
    for expert in 0..EXPERTS {
        let (a, b) = (lora_a(&start, expert), lora_b(&start, expert));
        let g = full[expert].clone();
        let formula = g.clone().matmul(b.clone()).matmul(b.transpose())
            + a.clone().transpose().matmul(a.matmul(g));
        let formula = formula * scaling(&start, &shape, expert).powi(2);
        assert!(common::distance(&equivalent[expert], &formula) < 1e-4);
    }
}

#[test]
fn with_the_theoretical_scaling_experts_learn_eta_times_as_fast_as_full_fine_tuning() {
    let problem = Problem::new();
    for eta in [1.0, 0.1] {
        let (along, _) = problem.measured(theoretical_scaling(eta, IN, RANK));
        assert_close(along, eta, 0.03);
    }
}

#[test]
fn with_alpha_over_r_they_are_far_slower() {
    let problem = Problem::new();
    // alpha = 2 r; the wider the layer, the slower.
    let (along, _) = problem.measured(2.0);
    assert_close(along, 4.0 * RANK as f64 / (3.0 * IN as f64), 0.03);
    assert!(along < 0.06, "{along}");
}

#[test]
fn a_single_draw_is_longer_than_its_mean() {
    let problem = Problem::new();
    let (_, size) = problem.measured(theoretical_scaling(1.0, IN, RANK));
    let (inputs, rank) = (IN as f64, RANK as f64);
    assert_close(size, (inputs + rank - 0.2) / rank, 0.03);
}

#[test]
fn goats_own_start_learns_as_fast_as_its_singular_values_say() {
    let problem = Problem::new();
    let s = theoretical_scaling(1.0, IN, RANK);
    let shape = problem.shape(s);
    let goat = GoatConfig::default();
    let mut rng = SmallRng::seed_from_u64(0);
    let statistics = LayerStatistics::default();
    let start =
        InitConfig::Goat(goat).start(&problem.weight, &shape, &statistics, &mut rng).unwrap();
    for expert in 0..EXPERTS {
        let (a, b) = (lora_a(&start, expert), lora_b(&start, expert));
        // |A|^2 = |B|^2 = sum sigma / (s rho).
        let sigmas = norm(&a).powi(2) * s * goat.rho;
        let predicted = s / goat.rho * sigmas * (1.0 / OUT as f64 + 1.0 / IN as f64);
        let mut along = 0.0;
        for seed in 0..100 {
            let g = random(IN, OUT, 1000 + seed);
            let step = g.clone().matmul(b.clone()).matmul(b.clone().transpose())
                + a.clone().transpose().matmul(a.clone().matmul(g.clone()));
            along += s * s * dot(&step, &g) / dot(&g, &g) / 100.0;
        }
        println!("expert {expert}: {along:.4} of the gradient, {predicted:.4} predicted");
        assert_close(along, predicted, 0.03);
        assert!(along < 0.5, "{along}: the theorem is about another start");
    }
}
