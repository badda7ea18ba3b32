//! LoRA experts on their frozen linear: the fused execution, the plain one, and a single LoRA of the same total rank.
//!
//! ```text
//! cargo bench --bench experts
//! LORA_MOE_DEVICE=cuda:0 cargo bench -p benches --features cuda --bench experts
//! ```

mod common;

use common::{criterion, device, normal, wait};
use criterion::Throughput;
use lora_moe::burn::module::Module;
use lora_moe::burn::nn::{Linear, LinearConfig};
use lora_moe::burn::tensor::activation::softmax;
use lora_moe::burn::tensor::{Device, Tensor};
use lora_moe::lora_expert::{ExpertBank, ExpertError, LoraBank, LoraBankConfig};
use lora_moe::router::Routing;

const TOKENS: usize = 1024;
const IN: usize = 512;
const OUT: usize = 1376;

/// One way to compute the experts' part of the output.
type Execution = fn(&LoraBank, &Linear, Tensor<2>, &Routing) -> Tensor<2>;

/// Name, experts, rank, and how they are computed.
const EXECUTIONS: [(&str, usize, usize, Execution); 3] = [
    ("fused/E8/r4", 8, 4, |bank, base, x, routing| bank.forward(base, x, Some(routing), Some(0))),
    ("reference/E8/r4", 8, 4, |bank, base, x, routing| {
        base.forward(x.clone()) + bank.forward_reference(x, Some(routing))
    }),
    ("single/E1/r32", 1, 32, |bank, base, x, _| bank.forward(base, x, None, Some(0))),
];

fn main() -> Result<(), ExpertError> {
    let mut criterion = criterion();
    let device = device();
    let autodiff = device.clone().autodiff();
    let mut group = criterion.benchmark_group(format!("experts/T{TOKENS}/I{IN}/O{OUT}"));
    group.throughput(Throughput::Elements(TOKENS as u64));
    for (name, experts, rank, execute) in EXECUTIONS {
        let (bank, routing) = (bank(experts, rank, &device)?, routing(experts, &device));
        let x = normal([TOKENS, IN], &device);
        let base = base(&device);
        group.bench_function(format!("forward/{name}"), |bencher| {
            bencher.iter(|| {
                let y = execute(&bank, &base, x.clone(), &routing);
                wait(&device);
                y
            });
        });
    }
    for (name, experts, rank, execute) in EXECUTIONS {
        let (bank, mut routing) = (bank(experts, rank, &autodiff)?, routing(experts, &autodiff));
        // In training the router wants its gradient, so computing it belongs to the time.
        routing.weights = routing.weights.require_grad();
        let x = normal([TOKENS, IN], &autodiff).require_grad();
        let base = base(&autodiff);
        group.bench_function(format!("forward+backward/{name}"), |bencher| {
            bencher.iter(|| {
                let grads = execute(&bank, &base, x.clone(), &routing).sum().backward();
                wait(&device);
                grads
            });
        });
    }
    group.finish();
    criterion.final_summary();
    Ok(())
}

/// The frozen linear that the experts adapt.
fn base(device: &Device) -> Linear {
    LinearConfig::new(IN, OUT).with_bias(false).init(device).no_grad()
}

fn bank(experts: usize, rank: usize, device: &Device) -> Result<LoraBank, ExpertError> {
    let a = normal([experts, rank, IN], device);
    let b = normal([experts, OUT, rank], device);
    LoraBankConfig::new(2.0).init(a, b)
}

/// What a dense router would decide.
fn routing(experts: usize, device: &Device) -> Routing {
    let logits = normal([TOKENS, experts], device);
    let probabilities = softmax(logits.clone(), 1);
    Routing::dense(logits, probabilities.clone(), probabilities)
}
