//! What a step takes grows by as much with every layer, so that two small models tell of a large one.

#![allow(clippy::unwrap_used)]

use std::sync::{Mutex, PoisonError};

use burn::module::Module;
use burn::tensor::Device;
use finetune::bench::{TrainBench, bench_train};
use finetune::memory::Counted;
use finetune::train::Recompute;
use model_zoo::{Decoder, DecoderConfig};
use moe_adapter::{AdapterConfig, Preset};

#[global_allocator]
static ALLOCATOR: Counted<std::alloc::System> = Counted(std::alloc::System);

/// What is counted is of the whole process.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The most memory of steps of a model with so many layers, in KiB.
fn counted(adapter: &AdapterConfig, layers: usize, recompute: Recompute) -> f64 {
    let config = DecoderConfig::new(600, 64, 160, layers, 4);
    let model = Decoder::init_random(&config, 0, &Device::flex()).unwrap().no_grad();
    let bench = TrainBench { batch_size: 2, seq_len: 96, steps: 2, warmup: 1, seed: 0, recompute };
    bench_train(model, adapter, &bench).unwrap().counted_bytes.unwrap() / 1024.0
}

#[test]
fn two_and_three_layers_tell_what_six_take() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let presets =
        [Preset::Lora, Preset::LoramoePaper, Preset::GoatPaper, Preset::Slim, Preset::Mixlora];
    for preset in presets {
        for recompute in [Recompute::None, Recompute::Every(1)] {
            // The less of two: what a thread keeps from its first product on falls into the first one.
            let once = |layers| counted(&preset.config(), layers, recompute);
            let of = |layers| once(layers).min(once(layers));
            let [two, three, six] = [2, 3, 6].map(of);
            let told = two + 4.0 * (three - two);
            let error = told / six - 1.0;
            println!(
                "{preset}, {recompute}: {six:.0} KiB, told {told:.0} ({:+.1} %)",
                100.0 * error
            );
            assert!(error.abs() < 0.1, "{preset}, {recompute}: {six:.0} KiB, told {told:.0}");
        }
    }
}

/// Of twelve layers and the last one's graph, nested groups of four keep three inputs and three more, not
/// twelve, and no feed-forward block of all tokens.
#[test]
fn nested_groups_keep_less_than_layers() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |recompute| counted(&Preset::Lora.config(), 12, recompute);
    let [block, nested] = [Recompute::Every(1), Recompute::Nested(4)].map(of);
    let input = (2 * 96 * 64 * 4) as f64 / 1024.0;
    println!("block {block:.0} KiB, nested {nested:.0} KiB, an input {input:.0} KiB");
    assert!(block - nested >= 5.0 * input, "{block:.0} KiB, {nested:.0} KiB");
}
