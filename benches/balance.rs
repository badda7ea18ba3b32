//! Balance losses of one layer's routing: forward, and forward with backward, by loss, number of
//! tokens and of experts.
//!
//! ```text
//! cargo bench --bench balance
//! LORA_MOE_DEVICE=cuda:0 cargo bench -p benches --features cuda --bench balance
//! ```
//!
//! The same in PyTorch: `python benches/pytorch/balance.py`.

mod common;

use common::{certain, criterion, device, finish, normal, wait};
use criterion::{BenchmarkId, Throughput};
use lora_moe::balance_loss::{BalanceLossConfig, BalanceLossError};
use lora_moe::burn::tensor::activation::softmax;
use lora_moe::burn::tensor::{Device, Int, Tensor, TensorData};
use lora_moe::router::{BatchContext, Routing, RoutingTape, Site};

/// The losses with their defaults; a new one is a line.
fn losses() -> Vec<(&'static str, BalanceLossConfig)> {
    vec![
        ("localized_balancing", BalanceLossConfig::LocalizedBalancing(Default::default())),
        ("load_balancing", BalanceLossConfig::LoadBalancing(Default::default())),
        ("importance", BalanceLossConfig::Importance(Default::default())),
        ("z_loss", BalanceLossConfig::ZLoss(Default::default())),
        ("entropy", BalanceLossConfig::Entropy(Default::default())),
        ("expert_similarity", BalanceLossConfig::ExpertSimilarity(Default::default())),
        ("l1", BalanceLossConfig::L1(Default::default())),
    ]
}

const SAMPLES: usize = 8;
const TOKENS: [usize; 3] = [512, 4096, 16384];
const EXPERTS: [usize; 3] = [4, 8, 64];
const TOP_K: usize = 2;
/// Of the linear that the experts adapt.
const FEATURES: [usize; 2] = [512, 1376];
const RANK: usize = 4;

fn main() -> Result<(), BalanceLossError> {
    let mut criterion = criterion();
    for (name, backward) in [("balance/forward", false), ("balance/forward+backward", true)] {
        let device = if backward { device().autodiff() } else { device() };
        let mut group = criterion.benchmark_group(name);
        for (loss, config) in losses() {
            let balance = config.init()?;
            for tokens in TOKENS {
                group.throughput(Throughput::Elements(tokens as u64));
                for experts in EXPERTS {
                    let id = BenchmarkId::new(loss, format!("T{tokens}/E{experts}"));
                    group.bench_function(id, |bencher| {
                        let tape = tape(tokens, experts, backward, &device);
                        bencher.iter(|| {
                            let value = certain(balance.loss(&tape));
                            let grads =
                                value.clone().filter(|_| backward).map(|value| value.backward());
                            wait(&device);
                            (value, grads)
                        });
                    });
                }
            }
        }
        group.finish();
    }
    finish(criterion);
    Ok(())
}

/// What a layer with a top-k router and LoRA experts leaves on a tape. Everything that a loss may
/// read is a leaf, so that the times are those of the loss alone; with `backward` it has a gradient.
fn tape(tokens: usize, experts: usize, backward: bool, device: &Device) -> RoutingTape {
    let logits = normal([tokens, experts], device);
    let probabilities = softmax(logits.clone(), 1);
    let lowest = logits.clone().topk(TOP_K, 1).narrow(1, TOP_K - 1, 1);
    let selection = logits.clone().greater_equal(lowest).float();
    let weights = probabilities.clone() * selection.clone();
    let routing = [logits, probabilities, weights].map(|tensor| leaf(tensor, backward));
    let [logits, probabilities, weights] = routing;
    let routing =
        Routing::dense(logits, probabilities, weights).with_selection(selection, Some(TOP_K));

    let types: Vec<i64> = (0..SAMPLES as i64).map(|sample| sample % 2).collect();
    let types = Tensor::<1, Int>::from_data(TensorData::new(types, [SAMPLES]), device);
    let context = BatchContext::new(SAMPLES, tokens / SAMPLES).with_task_types(types);
    let mut tape = RoutingTape::recording(context);
    tape.push(Site::new(0, "mlp.up_proj"), &routing, || {
        let [inputs, outputs] = FEATURES;
        let factors = [[experts, RANK, inputs], [experts, outputs, RANK]];
        factors.map(|shape| leaf(normal(shape, device), backward)).into()
    });
    tape
}

fn leaf<const D: usize>(tensor: Tensor<D>, backward: bool) -> Tensor<D> {
    if backward { tensor.detach().require_grad() } else { tensor }
}
