use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use model_zoo::{CausalLm, Decoder};
use moe_adapter::{AdapterConfig, attach, trainable_parameters};

use super::jobs::run_jobs;
use super::measure::routing_shares;
use super::{
    Base, DemoConfig, DemoMethod, EvaluationSets, Half, Measured, measure, pretrained, samples,
};
use super::{DemoReport, LossCurve, RoutingShares};
use crate::StudyError;
use crate::checkpoints::RunCheckpoints;
use crate::tune::{OnStep, Tuned, Tuning, in_order, tune};
use crate::world::Exchange;
use crate::{BASE, ResultRow, Setting};
use data::Sample;
use finetune::train::TrainingConfig;

/// Watches the demo; several runs may go on at once.
pub trait DemoObserver: Send {
    /// A run begins, of so many steps.
    fn on_start(&mut self, run: &str, steps: usize);
    /// A step of it is made.
    fn on_step(&mut self, run: &str, step: usize, loss: f64);
    /// It is over.
    fn on_end(&mut self, run: &str);
    /// Something that whoever waits should know. By default nothing is done with it.
    fn on_note(&mut self, _note: &str) {}
}

/// Pre-trains under observation, or reads what was pre-trained before.
pub(crate) fn base(
    config: &DemoConfig,
    cache: &Path,
    device: &Device,
    observer: &mut dyn DemoObserver,
) -> Result<Base, StudyError> {
    const NAME: &str = "pre-training";
    let mut trained = false;
    let base = pretrained(config, cache, device, |step, steps, loss| {
        if !trained {
            observer.on_start(NAME, steps);
            trained = true;
        }
        observer.on_step(NAME, step, loss);
    })?;
    if trained {
        observer.on_end(NAME);
    }
    Ok(base)
}

/// Runs the experiment on `workers` threads and returns what it measured.
///
/// # Errors
///
/// [`StudyError`] when the configuration cannot work or the cache cannot be written.
pub fn run_demo(
    config: &DemoConfig,
    cache: &Path,
    device: &Device,
    workers: usize,
    command: &str,
    observer: &mut dyn DemoObserver,
) -> Result<DemoReport, StudyError> {
    let started = Instant::now();
    let base = base(config, cache, device, observer)?;
    let sets = EvaluationSets::new(&base.world, config.inputs_per_task, Half::Test);
    let mut report = DemoReport {
        command: command.to_owned(),
        questions: sets.questions.len(),
        curves: vec![LossCurve { name: "pre-training".into(), points: base.curve.clone() }],
        ..DemoReport::default()
    };
    let measured = measure(&base.model, &base.tokenizer, &sets)?;
    let seconds = started.elapsed().as_secs_f64();
    report.rows.push(row(BASE, 0, 0, &measured, seconds));
    report.statements.push(Some(measured.statements));

    let methods = equal_parameters(&base, &config.methods)?;
    let jobs: Vec<_> = config
        .samples
        .iter()
        .flat_map(|amount| methods.iter().map(move |method| (*amount, method)))
        .collect();
    let observer = Mutex::new(observer);
    let size = |job: &(usize, &DemoMethod)| job.0;
    let results = run_jobs(&base, &jobs, (workers, 1), size, |base, (amount, method)| {
        let run = format!("{}, {amount} samples", method.name);
        let started = Instant::now();
        let mut points = Vec::new();
        let steps = amount.div_ceil(config.batch_size);
        let tuned = watched(&observer, &run, steps, |on_step| {
            tune_base(config, base, method, *amount, None, &mut |step, loss| {
                points.push((step as f64, loss));
                on_step(step, loss);
            })
        })?;
        let measured = measure(&tuned.model, &base.tokenizer, &sets)?;
        let shares = match method.adapter.is_mixture() {
            true => Some(shares(base, &sets, method, *amount, &tuned.model)?),
            false => None,
        };
        let seconds = started.elapsed().as_secs_f64();
        let row = row(&method.name, *amount, tuned.trainable_parameters, &measured, seconds);
        let curve = LossCurve { name: format!("{} {amount}", method.name), points };
        Ok((row, measured.statements, curve, shares))
    })?;
    for (row, statements, curve, shares) in results {
        report.rows.push(row);
        report.statements.push(Some(statements));
        report.curves.push(curve);
        report.routing.extend(shares);
    }
    report.settings = settings(config, &base, &methods);
    report.seconds = started.elapsed().as_secs_f64();
    Ok(report)
}

fn row(
    method: &str,
    samples: usize,
    trainable_parameters: usize,
    measured: &Measured,
    seconds: f64,
) -> ResultRow {
    ResultRow {
        method: method.to_owned(),
        samples,
        trainable_parameters,
        knowledge: measured.knowledge,
        tasks: measured.tasks,
        text_loss: measured.text_loss,
        seconds,
    }
}

/// An observer that several runs share.
pub(crate) type SharedObserver<'a> = Mutex<&'a mut dyn DemoObserver>;

/// Makes a run of so many steps under observation: `work` is given what to tell of its steps.
pub(crate) fn watched<T>(
    observer: &SharedObserver<'_>,
    run: &str,
    steps: usize,
    work: impl FnOnce(&mut dyn FnMut(usize, f64)) -> T,
) -> T {
    // A poisoned lock means that another run panicked; this one can still be told of.
    let watch = || observer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    watch().on_start(run, steps);
    let result = work(&mut |step, loss| watch().on_step(run, step, loss));
    watch().on_end(run);
    result
}

/// Tunes the base model by a method on the first `amount` samples of the stream.
pub(crate) fn tune_base(
    config: &DemoConfig,
    base: &Base,
    method: &DemoMethod,
    amount: usize,
    kept: Option<&mut RunCheckpoints>,
    on_step: &mut OnStep<'_>,
) -> Result<Tuned, StudyError> {
    let training = TrainingConfig {
        seed: config.seed,
        learning_rate: method.learning_rate,
        warmup_ratio: config.warmup_ratio,
        per_device_train_batch_size: config.batch_size,
        ..TrainingConfig::default()
    };
    let samples = encode(base, &base.world.instruction(amount, config.seed))?;
    let tuning = Tuning {
        adapter: &method.adapter,
        training: &training,
        samples: &samples,
        steps: &in_order(samples.len(), config.batch_size),
        svd_cache: None,
    };
    tune(&base.model, &tuning, kept, on_step)
}

pub(crate) fn encode(base: &Base, exchanges: &[Exchange]) -> Result<Vec<Sample>, StudyError> {
    exchanges.iter().map(|exchange| samples::exchange(&base.tokenizer, exchange)).collect()
}

/// Gives every single LoRA the rank at which it has as many trainable parameters as the first
/// mixture, to the nearest, and keeps its ratio of alpha to rank.
pub(super) fn equal_parameters(
    base: &Base,
    methods: &[DemoMethod],
) -> Result<Vec<DemoMethod>, StudyError> {
    let count = |adapter: &AdapterConfig| -> Result<usize, StudyError> {
        let mut model = base.model.clone();
        attach(&mut model, adapter, 0)?;
        Ok(trainable_parameters(&model))
    };
    let Some(mixture) = methods.iter().find(|method| method.adapter.is_mixture()) else {
        return Ok(methods.to_vec());
    };
    let target = count(&mixture.adapter)?;
    let mut methods = methods.to_vec();
    for method in methods.iter_mut().filter(|method| !method.adapter.is_mixture()) {
        let per_rank = count(&AdapterConfig { r: 1, ..method.adapter.clone() })?;
        let ratio = method.adapter.lora_alpha / method.adapter.r as f64;
        method.adapter.r = ((target as f64 / per_rank as f64).round() as usize).max(1);
        method.adapter.lora_alpha = ratio * method.adapter.r as f64;
    }
    Ok(methods)
}

/// How a tuned mixture routes facts and tasks.
fn shares(
    base: &Base,
    sets: &EvaluationSets,
    method: &DemoMethod,
    amount: usize,
    model: &Decoder,
) -> Result<RoutingShares, StudyError> {
    let of = |exchanges: &[Exchange]| -> Result<Vec<f64>, StudyError> {
        routing_shares(model, &encode(base, exchanges)?)
    };
    Ok(RoutingShares {
        method: method.name.clone(),
        samples: amount,
        knowledge_experts: method.adapter.num_experts.div_ceil(2),
        knowledge: of(&sets.questions)?,
        tasks: of(&sets.tasks)?,
    })
}

fn settings(config: &DemoConfig, base: &Base, methods: &[DemoMethod]) -> Vec<Setting> {
    let parameters = {
        let mut model = base.model.clone();
        moe_adapter::detach(&mut model);
        model.num_params()
    };
    let mut settings = vec![
        Setting::new("seed", config.seed),
        Setting::new("facts", base.world.facts().len()),
        Setting::new(
            "model",
            format!(
                "{parameters} parameters, hidden {}, {} layers, vocabulary {}",
                config.hidden_size,
                config.num_hidden_layers,
                base.model.vocab_size()
            ),
        ),
        Setting::new(
            "pre-training",
            format!(
                "{} steps of {} sentences, learning rate {}",
                config.pretraining_steps,
                config.pretraining_batch_size,
                config.pretraining_learning_rate
            ),
        ),
        Setting::new(
            "tuning",
            format!(
                "{} samples a step, each seen once, {:.0} % warm-up, cosine",
                config.batch_size,
                100.0 * config.warmup_ratio
            ),
        ),
        Setting::new(
            "knowledge in the tuning data",
            format!(
                "{:.0} % of the samples, about {} of {} entities, none of which is evaluated",
                100.0 * config.world.knowledge_share,
                config.world.rehearsed_entities(),
                config.world.entities
            ),
        ),
    ];
    for method in methods {
        let adapter = &method.adapter;
        let experts = match adapter.num_experts {
            1 => String::new(),
            n => format!("{n} experts, "),
        };
        settings.push(Setting::new(
            method.name.clone(),
            format!(
                "{experts}rank {}, alpha {}, learning rate {}",
                adapter.r, adapter.lora_alpha, method.learning_rate
            ),
        ));
    }
    settings.push(Setting::new("version", env!("CARGO_PKG_VERSION")));
    settings
}
