//! What holds for all strategies, or for several of them.

mod capacity;
mod configuration;
mod contracts;
mod gates;
mod state;
mod strategies;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::{
    AdamoleRouterConfig, AnyRouter, Assignment, BatchContext, Distance, DynmoleRouterConfig,
    Entropy, ExpertChoiceRouterConfig, GateConfig, Lambda, NoisyTopKRouterConfig, Router,
    RouterConfig, RouterError, RouterShape, Routing, SigmoidRouterConfig,
    SlidingClusterRouterConfig, SparsegenRouterConfig, SwitchRouterConfig, TopKRouterConfig,
    TopPRouterConfig, Yielding, random,
};

const HIDDEN: usize = 8;
const EXPERTS: usize = 6;

/// Every strategy with the gate given, in the default configuration but for capacities, which
/// bind; and some with options, whose names have a space.
fn strategies(gate: &GateConfig) -> Vec<(&'static str, RouterConfig)> {
    let gate = || gate.clone();
    let switch = SwitchRouterConfig { gate: gate(), capacity_factor: 1.0 };
    let choice = ExpertChoiceRouterConfig { gate: gate(), capacity_factor: 1.5 };
    let network = Lambda::Network { hidden_size: 5 };
    let learned = SparsegenRouterConfig { gate: gate(), lambda: network };
    let renyi = Entropy::Renyi { q: 2.0 };
    let renyi = DynmoleRouterConfig { gate: gate(), entropy: renyi, ..Default::default() };
    let samples = SlidingClusterRouterConfig {
        gate: gate(),
        assignment: Assignment::Sample,
        distance: Distance::Rms,
        yielding: Yielding::Multiplicative,
        ..Default::default()
    };
    vec![
        ("sliding_cluster of samples", RouterConfig::SlidingCluster(samples)),
        ("dynmole by Renyi", RouterConfig::Dynmole(renyi)),
        ("uniform", RouterConfig::Uniform {}),
        ("dense", RouterConfig::Dense { gate: gate() }),
        ("top_k", RouterConfig::TopK(TopKRouterConfig { gate: gate(), ..Default::default() })),
        (
            "noisy_top_k",
            RouterConfig::NoisyTopK(NoisyTopKRouterConfig { gate: gate(), ..Default::default() }),
        ),
        ("top_p", RouterConfig::TopP(TopPRouterConfig { gate: gate(), ..Default::default() })),
        (
            "adamole",
            RouterConfig::Adamole(AdamoleRouterConfig { gate: gate(), ..Default::default() }),
        ),
        (
            "dynmole",
            RouterConfig::Dynmole(DynmoleRouterConfig { gate: gate(), ..Default::default() }),
        ),
        (
            "sparsegen",
            RouterConfig::Sparsegen(SparsegenRouterConfig { gate: gate(), ..Default::default() }),
        ),
        ("sparsegen with a network", RouterConfig::Sparsegen(learned)),
        ("switch", RouterConfig::Switch(switch)),
        ("expert_choice", RouterConfig::ExpertChoice(choice)),
        (
            "sigmoid",
            RouterConfig::Sigmoid(SigmoidRouterConfig { gate: gate(), ..Default::default() }),
        ),
        (
            "sliding_cluster",
            RouterConfig::SlidingCluster(SlidingClusterRouterConfig {
                gate: gate(),
                ..Default::default()
            }),
        ),
    ]
}

fn try_router(config: &RouterConfig, shape: &RouterShape) -> Result<AnyRouter, RouterError> {
    config.init(shape, &mut SmallRng::seed_from_u64(7), &Device::flex())
}

fn router_on(config: &RouterConfig, device: &Device) -> AnyRouter {
    let shape = RouterShape::new(HIDDEN, EXPERTS);
    config.init(&shape, &mut SmallRng::seed_from_u64(7), device).unwrap()
}

fn router(config: &RouterConfig) -> AnyRouter {
    router_on(config, &Device::flex())
}

fn normal<const D: usize>(shape: [usize; D], std: f64, seed: u64, device: &Device) -> Tensor<D> {
    random::normal(shape, std, &mut SmallRng::seed_from_u64(seed), device)
}

fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter::<f32>().collect()
}

fn rows(tensor: &Tensor<2>) -> Vec<Vec<f32>> {
    let width = tensor.dims()[1];
    floats(tensor).chunks(width).map(<[f32]>::to_vec).collect()
}

fn weights(router: &AnyRouter, x: &Tensor<2>, context: &BatchContext) -> Vec<Vec<f32>> {
    rows(&router.route(x.clone(), context).weights)
}

fn selection(routing: &Routing) -> Vec<Vec<bool>> {
    let mask = routing.selection.clone().unwrap();
    rows(&mask).iter().map(|row| row.iter().map(|v| *v > 0.0).collect()).collect()
}

fn close(a: &[Vec<f32>], b: &[Vec<f32>]) -> bool {
    a.len() == b.len()
        && a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-5)
}

/// All tensors of a module's record, one after the other.
fn record<M: Module>(module: &M) -> Vec<Vec<f32>> {
    struct Reader(Vec<Vec<f32>>);
    impl ModuleVisitor for Reader {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(floats(&param.val()));
        }
    }
    let mut reader = Reader(Vec::new());
    module.visit(&mut reader);
    reader.0
}
