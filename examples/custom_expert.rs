//! An expert that this workspace does not have, training a model of the zoo.
//!
//! ```text
//! cargo run --release --example custom_expert
//! ```
//!
//! `BottleneckBank` puts a non-linearity between LoRA's two factors, which makes each expert a
//! small network (the parallel adapter of He et al., arXiv 2110.04366). Nothing else is needed.
#![allow(clippy::print_stdout)]

mod support;

use lora_moe::burn; // The derive macro of modules looks for this name.
use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::tensor::{Int, Tensor, activation::gelu};
use lora_moe::device::default_device;
use lora_moe::finetune::train::{Learner, LearnerConfig, TrainingConfig};
use lora_moe::lora_expert::{BaseLinear, ExpertBank};
use lora_moe::model_zoo::Decoder;
use lora_moe::moe_adapter::{AdaptedLinear, AdapterError, MoeAdapter, TargetModules, adapt};
use lora_moe::router::{RouterShape, Routing, StrategyConfig, TopKRouter, TopKRouterConfig};
use lora_moe::svd_init::{BankShape, ExpertInit, LayerStatistics, LoraInit};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use support::{pattern, tiny_decoder};

/// `f_e(x) = U_e gelu(D_e x)`, all experts stacked: `down` `[E, r, I]`, `up` `[E, O, r]`.
#[derive(Module, Debug)]
struct BottleneckBank {
    down: Param<Tensor<3>>,
    up: Param<Tensor<3>>,
}

impl BottleneckBank {
    /// `sum_e w_e f_e(x)` in two products: the weights are folded in where tensors are smallest.
    fn mixed(&self, x: Tensor<2>, weights: Option<Tensor<2>>) -> Tensor<2> {
        let ([tokens, _], [experts, rank, _]) = (x.dims(), self.down.dims());
        let down: Tensor<2> = self.down.val().flatten(0, 1); // [E r, I]
        let up: Tensor<2> = self.up.val().swap_dims(1, 2).flatten(0, 1); // [E r, O]
        let mut h = gelu(x.matmul(down.transpose())).reshape([tokens, experts, rank]);
        if let Some(weights) = weights {
            h = h * weights.unsqueeze_dim::<3>(2);
        }
        h.reshape([tokens, experts * rank]).matmul(up)
    }
}

impl ExpertBank for BottleneckBank {
    fn num_experts(&self) -> usize {
        self.down.dims()[0]
    }

    #[rustfmt::skip]
    fn forward(
        &self, base: &BaseLinear, x: Tensor<2>, routing: Option<&Routing>, _seed: Option<u64>,
    ) -> Tensor<2> {
        base.forward(x.clone()) + self.mixed(x, routing.map(|routing| routing.weights.clone()))
    }

    #[rustfmt::skip]
    fn expert_forward(
        &self, expert: usize, _: &BaseLinear, base_output: Tensor<2>, x: Tensor<2>, _: Option<u64>,
    ) -> Tensor<2> {
        let chosen = Tensor::<1, Int>::full([x.dims()[0]], expert as i64, &x.device());
        base_output + self.mixed(x, Some(chosen.one_hot(self.num_experts()).float()))
    }

    fn parameters(&self) -> Vec<Tensor<3>> {
        vec![self.down.val(), self.up.val()]
    }
}

pub(crate) fn main() -> anyhow::Result<()> {
    let (device, mut rng) = (default_device()?, ChaCha8Rng::seed_from_u64(0));
    type Model = Decoder<AdaptedLinear<TopKRouter, BottleneckBank>>;
    let mut model = Model::init_random(&tiny_decoder(), 0, &device)?.no_grad();
    adapt(&mut model, &TargetModules::all_linear(), None, |_path, _site, linear| {
        let weight = linear.weight();
        let [in_features, out_features] = weight.dims();
        let shape = BankShape { num_experts: 4, rank: 4, in_features, out_features, scaling: 1.0 };
        // Down-projections at random and up-projections of zero: each expert starts as nothing.
        let start = LoraInit.start(&weight, &shape, &LayerStatistics::default(), &mut rng)?;
        let [down, up] = [start.lora_a, start.lora_b].map(Param::from_tensor);
        let router = TopKRouterConfig::default();
        let router = router.init(&RouterShape::new(in_features, 4), &mut rng, &device)?;
        Ok::<_, AdapterError>((MoeAdapter::new(router, BottleneckBank { down, up }), None))
    })?;

    let mut learner = Learner::new(model, None, LearnerConfig::from(&TrainingConfig::default()))?;
    let batches = [pattern(&device.autodiff())?];
    let (first, mut last) = (learner.step(&batches, 1e-2)?.loss, f64::INFINITY);
    for _ in 1..60 {
        last = learner.step(&batches, 1e-2)?.loss;
    }
    println!("loss {first:.3} at first, {last:.3} at last");
    anyhow::ensure!(last < 0.5 * first, "the experts did not learn");
    Ok(())
}
