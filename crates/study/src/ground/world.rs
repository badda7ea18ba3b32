use std::path::Path;

use burn::tensor::Device;
use model_zoo::Decoder;

use super::{Ground, Kind, Role};
use crate::Setting;
use crate::StudyError;
use crate::checkpoints::RunCheckpoints;
use crate::demo::experiment::{base, encode, tune_base};
use crate::demo::{
    Base, DemoConfig, DemoMethod, DemoObserver, EvaluationSets, Half, measure, samples,
};
use crate::tune::OnStep;
use crate::{RunMeasures, StudyAbout};
use data::Sample;

/// The demo's world: each seed has a world, a model that was pre-trained on it, and an endless
/// stream of tuning samples, of its own.
#[derive(Clone)]
pub(crate) struct WorldGround {
    /// The settings and the base model of each seed.
    bases: Vec<(DemoConfig, Base)>,
}

impl WorldGround {
    /// Pre-trains the base model of each seed, or reads it from the cache.
    pub(crate) fn new(
        config: &DemoConfig,
        seeds: &[u64],
        cache: &Path,
        device: &Device,
        observer: &mut dyn DemoObserver,
    ) -> Result<Self, StudyError> {
        let bases = seeds
            .iter()
            .map(|seed| {
                let mut demo = DemoConfig {
                    seed: *seed,
                    samples: Vec::new(),
                    methods: Vec::new(),
                    ..config.clone()
                };
                demo.world.seed = *seed;
                let base = base(&demo, cache, device, observer)?;
                Ok((demo, base))
            })
            .collect::<Result<Vec<_>, StudyError>>()?;
        Ok(Self { bases })
    }
}

impl Ground for WorldGround {
    fn model(&self, seed: usize) -> &Decoder {
        &self.bases[seed].1.model
    }

    fn one_model(&self) -> bool {
        false
    }

    fn steps(&self, amount: usize) -> usize {
        amount.div_ceil(self.bases[0].0.batch_size)
    }

    fn most_samples(&self) -> Option<usize> {
        None
    }

    fn tune(
        &self,
        seed: usize,
        method: &DemoMethod,
        amount: usize,
        kept: Option<&mut RunCheckpoints>,
        on_step: &mut OnStep<'_>,
    ) -> Result<Decoder, StudyError> {
        let (demo, base) = &self.bases[seed];
        Ok(tune_base(demo, base, method, amount, kept, on_step)?.model)
    }

    fn measure(&self, seed: usize, model: &Decoder, half: Half) -> Result<RunMeasures, StudyError> {
        let (demo, base) = &self.bases[seed];
        let sets = EvaluationSets::new(&base.world, demo.inputs_per_task, half);
        let measured = measure(model, &base.tokenizer, &sets)?;
        Ok(RunMeasures {
            knowledge: measured.knowledge,
            tasks: measured.tasks,
            text_loss: measured.text_loss,
            ..RunMeasures::default()
        })
    }

    fn kinds(&self, seed: usize) -> Result<Vec<Kind>, StudyError> {
        let (demo, base) = &self.bases[seed];
        let sets = EvaluationSets::new(&base.world, demo.inputs_per_task, Half::Test);
        let text = sets.text.iter().map(|text| samples::sentence(&base.tokenizer, text));
        let kind =
            |name: &str, role, samples: Vec<Sample>| Kind { name: name.into(), role, samples };
        Ok(vec![
            kind("tasks", Role::Tasks, encode(base, &sets.tasks)?),
            kind("knowledge", Role::Knowledge, encode(base, &sets.questions)?),
            kind("text", Role::Text, text.collect::<Result<_, _>>()?),
        ])
    }

    fn cost_shape(&self) -> [usize; 2] {
        [32, 32]
    }

    fn threads(&self, _workers: usize) -> usize {
        1
    }

    fn settings(&self) -> Vec<Setting> {
        let demo = &self.bases[0].0;
        vec![
            Setting::new(
                "model",
                format!(
                    "hidden {}, feed-forward {}, {} layers, {} heads",
                    demo.hidden_size,
                    demo.intermediate_size,
                    demo.num_hidden_layers,
                    demo.num_attention_heads
                ),
            ),
            Setting::new(
                "pre-training",
                format!(
                    "{} steps of {} sentences, learning rate {}",
                    demo.pretraining_steps,
                    demo.pretraining_batch_size,
                    demo.pretraining_learning_rate
                ),
            ),
            Setting::new(
                "tuning",
                format!(
                    "{} samples a step, each seen once, {:.0} % warm-up, cosine",
                    demo.batch_size,
                    100.0 * demo.warmup_ratio
                ),
            ),
        ]
    }

    fn about(&self) -> StudyAbout {
        StudyAbout {
            setting: "For each seed a small language model is pre-trained on facts about invented entities until it \
                      answers questions about them without being given the text. Every method then tunes it on the \
                      same tasks, which have nothing to do with the facts. The setting follows LoRAMoE (arXiv \
                      2312.09979) in miniature."
                .to_owned(),
            measures: "Knowledge: the share of questions that are answered exactly, on facts that the tuning never \
                       mentions. Tasks: the share of new task inputs that are answered exactly."
                .to_owned(),
        }
    }

    fn fingerprint(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}
