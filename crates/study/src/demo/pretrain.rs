use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use model_zoo::{CausalLm, Decoder, DecoderConfig, LoadOptions, TextTokenizer};
use moe_adapter::write_atomically;
use router::stable_hash;
use serde_json::json;

use super::{DemoConfig, samples};
use crate::StudyError;
use crate::world::{BOS, EOS, PAD, World};
use data::Collator;
use finetune::train::{
    CausalTask, Learner, LearnerConfig, LrSchedulerKwargs, LrSchedulerType, OptimizerConfig,
    Schedule, TrainingConfig,
};

/// The pre-trained model of the demo, frozen, with its world.
#[derive(Clone)]
pub struct Base {
    /// The facts and tasks.
    pub world: World,
    /// Its tokenizer.
    pub tokenizer: TextTokenizer,
    /// The model that knows the facts.
    pub model: Decoder,
    /// Step and loss of the pre-training.
    pub curve: Vec<(f64, f64)>,
    /// Where it is cached, as a Hugging Face folder.
    pub folder: PathBuf,
}

const CURVE_FILE: &str = "pretraining.json";

/// Reads the pre-trained model from the cache, or trains it and puts it there.
///
/// `on_step` is told the step, all steps and the loss.
///
/// # Errors
///
/// [`StudyError`] when the configuration cannot work or the cache cannot be written.
pub fn pretrained(
    config: &DemoConfig,
    cache: &Path,
    device: &Device,
    mut on_step: impl FnMut(usize, usize, f64),
) -> Result<Base, StudyError> {
    let world = World::new(&config.world)?;
    let folder = cache.join(format!("demo-{:016x}", fingerprint(config)));
    let curve_path = folder.join(CURVE_FILE);
    // The curve is written last, so where it is the model is complete.
    if !curve_path.is_file() {
        let tokenizer = TextTokenizer::from_tokenizer(
            world.tokenizer()?,
            Some("<s>"),
            Some("</s>"),
            Some("<pad>"),
        )?;
        let (model, curve) = pretrain(config, &world, &tokenizer, device, &mut on_step)?;
        tokenizer.save(&folder)?;
        model.save(&folder)?;
        let text = json!(curve).to_string();
        write_atomically(&curve_path, text.as_bytes()).map_err(StudyError::io(&curve_path))?;
    }
    // Read back even when just trained, so that every run starts from the same file.
    let text = std::fs::read_to_string(&curve_path).map_err(StudyError::io(&curve_path))?;
    let curve = serde_json::from_str(&text).map_err(|error| {
        StudyError::state(
            &curve_path,
            format!("{error}; delete the folder to train the model again"),
        )
    })?;
    Ok(Base {
        tokenizer: TextTokenizer::from_folder(&folder)?,
        model: Decoder::load(&folder, &LoadOptions::default(), device)?,
        world,
        curve,
        folder,
    })
}

fn pretrain(
    config: &DemoConfig,
    world: &World,
    tokenizer: &TextTokenizer,
    device: &Device,
    on_step: &mut impl FnMut(usize, usize, f64),
) -> Result<(Decoder, Vec<(f64, f64)>), StudyError> {
    let mut llama = DecoderConfig::new(
        world.vocabulary().len(),
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
    );
    llama.max_position_embeddings = 64;
    llama.tie_word_embeddings = true;
    llama.initializer_range = config.initializer_range;
    llama.bos_token_id = Some(BOS);
    llama.eos_token_ids = vec![EOS];
    llama.pad_token_id = Some(PAD);
    let model = Decoder::init_random(&llama, config.seed, device)
        .map_err(|error| StudyError::Model(error.into()))?;

    let total_steps = config.pretraining_steps;
    let batch_size = config.pretraining_batch_size;
    let sentences = world.pretraining(config.seed, total_steps * batch_size);
    let samples = sentences
        .iter()
        .map(|text| samples::sentence(tokenizer, text))
        .collect::<Result<Vec<_>, _>>()?;
    let learner = LearnerConfig {
        optimizer: OptimizerConfig {
            weight_decay: 0.01,
            beta2: 0.98,
            ..OptimizerConfig::default()
        },
        max_grad_norm: 1.0,
        seed: config.seed,
        ..LearnerConfig::from(&TrainingConfig::default())
    };
    let task = CausalTask::default();
    let mut learner = Learner::for_task(task, model, None, learner)?;
    let schedule = Schedule {
        learning_rate: config.pretraining_learning_rate,
        kind: LrSchedulerType::Cosine,
        kwargs: LrSchedulerKwargs::default(),
        warmup_steps: total_steps / 20,
        total_steps,
    };
    let collator = Collator::new(PAD);
    let device = learner.model().device();
    let mut curve = Vec::with_capacity(total_steps);
    for (step, chunk) in samples.chunks(batch_size).enumerate() {
        let refs: Vec<_> = chunk.iter().collect();
        let batch = collator.collate(&refs)?.to_device(&device);
        let report = learner.step(&[batch], schedule.at(step + 1))?;
        curve.push(((step + 1) as f64, report.loss));
        on_step(step + 1, total_steps, report.loss);
    }
    Ok((learner.model().valid(), curve))
}

/// Everything that the pre-trained model depends on.
fn fingerprint(config: &DemoConfig) -> u64 {
    let text = json!([
        env!("CARGO_PKG_VERSION"),
        config.seed,
        config.world,
        config.hidden_size,
        config.intermediate_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.initializer_range,
        config.pretraining_steps,
        config.pretraining_batch_size,
        config.pretraining_learning_rate,
    ])
    .to_string();
    stable_hash(text.bytes())
}
