//! How many kernels a training step gives to a GPU for each layer. Alone in its process, whose launches
//! are all counted; on the device that `LORA_MOE_DEVICE` names.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use lora_moe::burn::module::Module;
use lora_moe::burn::tensor::Device;
use lora_moe::device::device_from_environment;
use lora_moe::finetune::bench::{TrainBench, TrainBenchResult, bench_train};
use lora_moe::finetune::train::Recompute;
use lora_moe::model_zoo::{Decoder, DecoderConfig};
use lora_moe::moe_adapter::{AdapterConfig, Preset, TargetModules};

/// Kernels are made on the thread that asks for them, which takes more than a test's without optimisation.
const STACK: usize = 64 << 20;

/// Launches and reads are counted for a process, whichever test they are of.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs something as the only one in this process, on a thread with the stack that it takes.
fn alone<T: Send>(run: impl FnOnce() -> T + Send) -> T {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().stack_size(STACK);
        builder.spawn_scoped(scope, run).unwrap().join().unwrap()
    })
}

fn launches(layers: usize, adapter: &AdapterConfig, device: &Device) -> Option<usize> {
    alone(|| steps(1, layers, adapter, device)).kernel_launches
}

/// Some steps, and what is counted of one after them.
fn steps(
    steps: usize,
    layers: usize,
    adapter: &AdapterConfig,
    device: &Device,
) -> TrainBenchResult {
    let mut config = DecoderConfig::new(64, 64, 96, layers, 4);
    config.num_key_value_heads = 2;
    let model = Decoder::<_>::init_random(&config, 0, device).unwrap().no_grad();
    let bench = TrainBench {
        batch_size: 2,
        seq_len: 32,
        steps,
        warmup: 1,
        seed: 0,
        recompute: Recompute::None,
    };
    bench_train(model, adapter, &bench).unwrap()
}

/// What one more layer costs, its share of the optimiser included.
fn of_a_layer(adapter: &AdapterConfig, device: &Device) -> Option<usize> {
    // Not from one layer: the first one needs no gradient of its input.
    Some(launches(3, adapter, device)? - launches(2, adapter, device)?)
}

/// Counts what WebGPU is asked to show the host, by what its implementation logs.
struct Reads(AtomicUsize);

static READS: Reads = Reads(AtomicUsize::new(0));

impl log::Log for Reads {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("wgpu_core")
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.args().to_string().starts_with("Buffer::map_async") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

/// How often all steps of a benchmark read from the device, and what it counts itself of the last.
fn reads(count: usize, adapter: &AdapterConfig, device: &Device) -> (usize, TrainBenchResult) {
    alone(|| {
        let before = READS.0.load(Ordering::Relaxed);
        let result = steps(count, 2, adapter, device);
        (READS.0.load(Ordering::Relaxed) - before, result)
    })
}

fn preset(name: &str) -> AdapterConfig {
    name.parse::<Preset>().unwrap().config()
}

#[test]
fn a_layer_takes_no_more_launches_than_it_did() {
    let device = device_from_environment().unwrap();
    let everywhere =
        AdapterConfig { target_modules: TargetModules::all_linear(), ..preset("loramoe-paper") };
    for (name, adapter, most) in [
        ("lora", preset("lora"), 55),
        ("loramoe-paper", preset("loramoe-paper"), 60),
        ("loramoe-paper on all linears", everywhere, 100),
        ("goat-paper", preset("goat-paper"), 95),
        ("slim", preset("slim"), 85),
        ("mixlora", preset("mixlora"), 100),
        ("mixlora-dynamic", preset("mixlora-dynamic"), 120),
    ] {
        let Some(found) = of_a_layer(&adapter, &device) else {
            println!("skipped: no launches are counted on {device:?}");
            return;
        };
        println!("{name}: {found} launches a layer");
        assert!(found <= most, "{name}: {found} launches a layer, more than {most}");
    }
}

#[test]
fn a_step_reads_from_the_device_once() {
    let device = device_from_environment().unwrap();
    log::set_logger(&READS).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    for name in ["lora", "loramoe-paper", "goat-paper", "slim", "slim-literal", "mixlora"] {
        let [(few, _), (many, result)] = [2, 6].map(|count| reads(count, &preset(name), &device));
        if result.kernel_launches.is_some() {
            assert_eq!(result.host_reads, Some(1), "{name}");
            // The numbers, the targets and the places of 64 tokens, of 8 bytes each, and little else.
            let sent = result.uploaded_bytes.unwrap();
            println!("{name}: {sent} bytes sent");
            assert!(sent <= 3 * 8 * 64 + 1024, "{name}: {sent} bytes sent");
        }
        if many == 0 {
            println!("skipped: only WebGPU tells of reads, {device:?} does not");
            return;
        }
        assert_eq!(many - few, 4, "{name}: {many} reads in four steps more than those with {few}");
    }
    log::set_max_level(log::LevelFilter::Off);
}

#[test]
fn launches_do_not_depend_on_the_number_of_experts() {
    let device = device_from_environment().unwrap();
    for name in
        ["loramoe-paper", "loramoe-released", "goat-paper", "slim", "mixlora", "mixlora-dynamic"]
    {
        let [few, many] = [4, 8].map(|num_experts| {
            launches(2, &AdapterConfig { num_experts, ..preset(name) }, &device)
        });
        let [Some(few), Some(many)] = [few, many] else { return };
        println!("{name}: {few} launches with 4 experts, {many} with 8");
        // Parts of a buffer are copied where they do not begin at a multiple of some bytes.
        assert!(few.abs_diff(many) * 50 <= few, "{name}: {few}, {many}");
    }
}
