//! Experts on their frozen linear: every bank, LoRA experts by rank and by width, and the dense
//! execution of a top-k routing against the sparse one.
//!
//! ```text
//! cargo bench --bench experts
//! cargo bench --bench experts -- execution/
//! LORA_MOE_DEVICE=cuda:0 cargo bench -p benches --features cuda --bench experts
//! ```

mod common;

use common::{criterion, device, finish, normal, wait};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use lora_moe::burn::module::Module;
use lora_moe::burn::nn::LinearConfig;
use lora_moe::burn::tensor::Device;
use lora_moe::burn::tensor::activation::softmax;
use lora_moe::lora_expert::{
    AnyBank, BankOptions, BaseLinear, DropoutMask, DynamicMergingConfig, Execution, ExpertBank,
    ExpertError, ExpertSlots, ExpertsConfig, Factors,
};
use lora_moe::router::Routing;

/// The sizes of a batch, a layer and its experts, and how many of them each token selects.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    in_features: usize,
    out_features: usize,
    experts: usize,
    rank: usize,
    top_k: Option<usize>,
}

const SIZES: Sizes =
    Sizes { tokens: 1024, in_features: 512, out_features: 1376, experts: 8, rank: 4, top_k: None };

fn lora(execution: Execution) -> ExpertsConfig {
    ExpertsConfig::Lora { merging: None, execution }
}

fn main() -> Result<(), ExpertError> {
    let mut criterion = criterion();
    banks(&mut criterion)?;
    ranks_and_widths(&mut criterion)?;
    executions(&mut criterion)?;
    finish(criterion);
    Ok(())
}

/// Every bank, and LoRA experts one after the other, as the formula reads.
fn banks(criterion: &mut Criterion) -> Result<(), ExpertError> {
    let merging = Some(DynamicMergingConfig::new(0.5));
    let merged = ExpertsConfig::Lora { merging, execution: Execution::Dense };
    let mut group = criterion.benchmark_group("experts/banks");
    for (name, config) in [
        ("lora", ExpertsConfig::default()),
        ("lora-merging", merged),
        ("hydra", ExpertsConfig::Hydra {}),
        ("dora", ExpertsConfig::Dora {}),
        ("ia3", ExpertsConfig::Ia3 {}),
    ] {
        measure(&mut group, name, "", &config, SIZES)?;
    }
    reference(&mut group)?;
    group.finish();
    Ok(())
}

/// LoRA experts by rank and by width, and a single LoRA of the same total rank.
fn ranks_and_widths(criterion: &mut Criterion) -> Result<(), ExpertError> {
    let config = ExpertsConfig::default();
    let mut group = criterion.benchmark_group("experts/ranks");
    for (experts, rank) in [(8, 1), (8, 4), (8, 8), (8, 32), (1, 32)] {
        let sizes = Sizes { experts, rank, ..SIZES };
        measure(&mut group, &format!("E{experts}/r{rank}"), "", &config, sizes)?;
    }
    group.finish();
    let mut group = criterion.benchmark_group("experts/widths");
    for (in_features, out_features) in [(512, 512), (1024, 1024), (2048, 2048)] {
        let sizes = Sizes { in_features, out_features, ..SIZES };
        measure(&mut group, &format!("I{in_features}/O{out_features}"), "", &config, sizes)?;
    }
    group.finish();
    Ok(())
}

/// The dense execution of a top-k routing against the sparse one.
fn executions(criterion: &mut Criterion) -> Result<(), ExpertError> {
    let mut group = criterion.benchmark_group("experts/execution");
    for (tokens, experts, top_k, rank) in [
        (1024, 8, 2, 4),
        (1024, 8, 2, 8),
        (1024, 8, 2, 32),
        (1024, 8, 4, 8),
        (1024, 8, 4, 32),
        (1024, 16, 2, 4),
        (1024, 16, 2, 8),
        (1024, 32, 4, 16),
        (1024, 64, 2, 8),
        (1024, 64, 2, 32),
        (1024, 64, 8, 8),
        (1024, 64, 32, 8),
        (64, 8, 2, 8),
        (64, 64, 2, 8),
        (1, 8, 2, 8),
        (1, 64, 2, 8),
    ] {
        let sizes = Sizes { tokens, experts, rank, top_k: Some(top_k), ..SIZES };
        let name = format!("T{tokens}/E{experts}/k{top_k}/r{rank}");
        for (variant, execution) in [("dense ", Execution::Dense), ("sparse ", Execution::Sparse)] {
            measure(&mut group, &name, variant, &lora(execution), sizes)?;
        }
    }
    group.finish();
    Ok(())
}

/// Times the forward pass, and the forward and backward pass, of one kind of experts.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    variant: &str,
    config: &ExpertsConfig,
    sizes: Sizes,
) -> Result<(), ExpertError> {
    let device = device();
    group.throughput(Throughput::Elements(sizes.tokens as u64));
    for backward in [false, true] {
        let device = if backward { device.clone().autodiff() } else { device.clone() };
        let (base, x) = (base(sizes, &device), normal([sizes.tokens, sizes.in_features], &device));
        let bank = bank(config, sizes, &base)?;
        let mut routing = routing(sizes, &device);
        if !backward {
            group.bench_function(BenchmarkId::new(name, format!("{variant}forward")), |bencher| {
                bencher.iter(|| {
                    let y = bank.forward(&base, x.clone(), Some(&routing), Some(0));
                    wait(&device);
                    y
                });
            });
            continue;
        }
        // In training the router wants its gradient, so computing it belongs to the time.
        let x = x.require_grad();
        routing.weights = routing.weights.require_grad();
        let id = BenchmarkId::new(name, format!("{variant}forward+backward"));
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                let y = bank.forward(&base, x.clone(), Some(&routing), Some(0));
                let grads = y.sum().backward();
                wait(&device);
                grads
            });
        });
    }
    Ok(())
}

/// Times LoRA experts computed one after the other, as the formula reads.
fn reference(group: &mut BenchmarkGroup<'_, WallTime>) -> Result<(), ExpertError> {
    let device = device();
    let (base, x) = (base(SIZES, &device), normal([SIZES.tokens, SIZES.in_features], &device));
    let AnyBank::Lora(bank) = bank(&ExpertsConfig::default(), SIZES, &base)? else {
        return Ok(());
    };
    let routing = routing(SIZES, &device);
    group.bench_function(BenchmarkId::new("lora-reference", "forward"), |bencher| {
        bencher.iter(|| {
            let y = base.forward(x.clone()) + bank.forward_reference(x.clone(), Some(&routing));
            wait(&device);
            y
        });
    });
    Ok(())
}

/// The frozen linear that the experts adapt.
fn base(sizes: Sizes, device: &Device) -> BaseLinear {
    let Sizes { in_features, out_features, .. } = sizes;
    LinearConfig::new(in_features, out_features).with_bias(false).init(device).no_grad().into()
}

fn bank(config: &ExpertsConfig, sizes: Sizes, base: &BaseLinear) -> Result<AnyBank, ExpertError> {
    let Sizes { in_features, out_features, experts, rank, .. } = sizes;
    let weight = base.weight();
    let device = weight.device();
    let options = BankOptions {
        num_experts: experts,
        slots: ExpertSlots::default(),
        scaling: 2.0,
        lora_dropout: 0.0,
        dropout_mask: DropoutMask::Shared,
        layer_seed: 0,
    };
    let factors = config.factors(experts).map(|(of_a, of_b)| Factors {
        lora_a: normal([of_a, rank, in_features], &device),
        lora_b: normal([of_b, out_features, rank], &device),
        expert_scaling: None,
    });
    config.init(&options, factors, &weight)
}

/// What a dense router would decide, or a top-k router.
fn routing(sizes: Sizes, device: &Device) -> Routing {
    let logits = normal([sizes.tokens, sizes.experts], device);
    let probabilities = softmax(logits.clone(), 1);
    let Some(top_k) = sizes.top_k else {
        return Routing::dense(logits, probabilities.clone(), probabilities);
    };
    let lowest = logits.clone().topk(top_k, 1).narrow(1, top_k - 1, 1);
    let selection = logits.clone().greater_equal(lowest).float();
    let weights = (probabilities.clone() * selection.clone()).detach();
    Routing::dense(logits, probabilities, weights).with_selection(selection, Some(top_k))
}
