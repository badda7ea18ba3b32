//! What a step takes grows by as much with every layer, so that two small models tell of a large one.

#![allow(clippy::unwrap_used)]

use burn::module::Module;
use burn::tensor::Device;
use finetune::bench::{TrainBench, bench_train};
use finetune::memory::Counted;
use finetune::train::Recompute;
use model_zoo::{Decoder, DecoderConfig};
use moe_adapter::{AdapterConfig, Preset};

#[global_allocator]
static ALLOCATOR: Counted<std::alloc::System> = Counted(std::alloc::System);

/// The most memory of steps of a model with so many layers, in KiB.
fn counted(adapter: &AdapterConfig, layers: usize, recompute: Recompute) -> f64 {
    let config = DecoderConfig::new(600, 64, 160, layers, 4);
    let model = Decoder::init_random(&config, 0, &Device::flex()).unwrap().no_grad();
    let bench = TrainBench { batch_size: 2, seq_len: 96, steps: 2, warmup: 1, seed: 0, recompute };
    bench_train(model, adapter, &bench).unwrap().counted_bytes.unwrap() / 1024.0
}

#[test]
fn two_and_three_layers_tell_what_six_take() {
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
