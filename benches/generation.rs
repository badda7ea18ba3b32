//! Generation with the key/value cache on a small decoder, by method and number of prompts.
//!
//! ```text
//! cargo bench --bench generation
//! LORA_MOE_DEVICE=cuda:0 cargo bench -p benches --features cuda --bench generation
//! ```

mod common;

use common::{certain, criterion, device, finish};
use criterion::{BenchmarkId, Throughput};
use lora_moe::burn::module::Module;
use lora_moe::model_zoo::{Decoder, DecoderConfig, generate_batch};
use lora_moe::moe_adapter::{AdapterError, Preset, attach};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const VOCABULARY: usize = 1024;
/// The tokens of a prompt, and those that continue it.
const TOKENS: [usize; 2] = [64, 32];
const PROMPTS: [usize; 2] = [1, 16];

/// The model without an adapter, and the methods that compute something else at generation.
fn methods() -> Vec<(String, Option<Preset>)> {
    let presets = [
        Preset::Lora,
        Preset::Dora,
        Preset::LoramoePaper,
        Preset::LoramoeReleased,
        Preset::GoatPaper,
        Preset::Slim,
        Preset::Mixlora,
        Preset::MixloraDynamic,
        Preset::MixloraSwitch,
        Preset::MolaInvertedTriangle,
        Preset::MolaRectangle,
        Preset::Molora,
        Preset::Mov,
        Preset::Hydralora,
        Preset::Adamole,
        Preset::Dynmole,
        Preset::LdMole,
    ];
    let presets = presets.into_iter().map(|preset| (preset.to_string(), Some(preset)));
    std::iter::once(("base model".to_owned(), None)).chain(presets).collect()
}

fn main() -> Result<(), AdapterError> {
    let mut config = DecoderConfig::new(VOCABULARY, 256, 688, 4, 4);
    config.max_position_embeddings = TOKENS[0] + TOKENS[1];
    let base: Decoder = certain(Decoder::init_random(&config, 0, &device())).no_grad();
    let mut criterion = criterion();
    let mut group = criterion.benchmark_group("generation");
    for (name, preset) in methods() {
        let mut model = base.clone();
        if let Some(preset) = preset {
            attach(&mut model, &preset.config(), 0)?;
        }
        for count in PROMPTS {
            let prompts = prompts(count);
            group.throughput(Throughput::Elements((count * TOKENS[1]) as u64));
            group.bench_function(BenchmarkId::new(&name, format!("B{count}")), |bencher| {
                // No token ends it, so that every method generates as many.
                bencher.iter(|| certain(generate_batch(&model, &prompts, TOKENS[1], &[])));
            });
        }
    }
    group.finish();
    finish(criterion);
    Ok(())
}

fn prompts(count: usize) -> Vec<Vec<u32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let token = |_| rng.random_range(0..VOCABULARY as u32);
    let tokens: Vec<u32> = (0..count * TOKENS[0]).map(token).collect();
    tokens.chunks(TOKENS[0]).map(<[u32]>::to_vec).collect()
}
