//! Ranks train as one rank does: the same losses, the same adapter, the same checkpoints.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use burn::module::Module;
use burn::tensor::Device;
use data::Sample;
use finetune::calibrate::calibrate;
use finetune::train::{
    Progress, Recompute, Resume, StepReport, TrainError, TrainObserver, TrainSummary, Trainer,
    TrainingConfig,
};
use model_zoo::{Decoder, DecoderConfig};
use moe_adapter::{ADAPTER_WEIGHTS_FILE, AdapterConfig, AttachOptions, Preset, attach_with};
use ranks::{Alone, Ranks, ThreadRanks};
use serde_json::Value;
use support::BeforeSums;

const VOCABULARY: u32 = 40;
const LIMIT: Duration = Duration::from_secs(120);

fn samples() -> Vec<Sample> {
    (0..24_u32)
        .map(|row| {
            let length = 5 + row % 4;
            Sample {
                input_ids: (0..length).map(|at| (5 * row + 3 * at * at) % VOCABULARY).collect(),
                target_mask: (0..length).map(|at| at > row % 3).collect(),
                task_type: Some(row % 2),
                ..Sample::default()
            }
        })
        .collect()
}

fn preset(preset: Preset) -> AdapterConfig {
    let mut config = AdapterConfig { lora_dropout: 0.1, ..preset.config() };
    if preset == Preset::GoatPaper {
        // One singular triplet for each expert: the linears are small.
        config.r = 8;
    }
    config
}

fn training(steps: usize) -> TrainingConfig {
    TrainingConfig {
        learning_rate: 1e-2,
        max_steps: steps,
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 4,
        logging_steps: 1,
        eval_steps: steps / 2,
        // A layer is more than that, so that sums begin within the backward pass.
        ddp_bucket_cap_mb: 1e-4,
        ..TrainingConfig::default()
    }
}

/// What a run of one rank is given.
#[derive(Clone, Copy)]
struct Run<'a> {
    adapter: &'a AdapterConfig,
    training: &'a TrainingConfig,
    train: &'a [Sample],
    output: &'a Path,
}

impl Run<'_> {
    fn rank(
        &self,
        ranks: &dyn Ranks,
        resume: &Resume,
        observer: &mut dyn TrainObserver,
    ) -> Result<TrainSummary, TrainError> {
        let config = DecoderConfig::new(VOCABULARY as usize, 16, 24, 3, 2);
        let mut model: Decoder =
            Decoder::init_random(&config, 0, &Device::flex()).unwrap().no_grad();
        let statistics = calibrate(&model, self.adapter, self.train, 4)?;
        let options = AttachOptions { seed: 1, statistics, ..AttachOptions::default() };
        attach_with(&mut model, self.adapter, options).unwrap();
        let validation = &samples()[..5];
        let trainer =
            Trainer::new(model, self.adapter, self.training, self.train, validation, self.output)?;
        Ok(trainer.with_ranks(ranks).run(resume, observer)?.1)
    }

    /// Runs on so many threads to the end.
    fn whole(&self, size: usize, resume: &Resume) -> Vec<TrainSummary> {
        self.on(size, resume).into_iter().map(Result::unwrap).collect()
    }

    /// Runs on so many threads.
    fn on(&self, size: usize, resume: &Resume) -> Vec<Result<TrainSummary, TrainError>> {
        if size == 1 {
            return vec![self.rank(&Alone, resume, &mut Quiet)];
        }
        ThreadRanks::run(size, LIMIT, |ranks| self.rank(&ranks, resume, &mut Quiet))
    }
}

struct Quiet;

impl TrainObserver for Quiet {}

/// Ends a run after a step, as a signal does; or with a panic, as a rank that dies.
struct EndsAt {
    step: usize,
    dies: bool,
    reached: bool,
}

impl TrainObserver for EndsAt {
    fn on_step(&mut self, progress: &Progress, _: &StepReport) {
        self.reached = progress.step == self.step;
        assert!(!(self.reached && self.dies), "this rank dies");
    }

    fn interrupts(&mut self) -> bool {
        self.reached
    }
}

/// The lines of metrics without what depends on the clock.
fn lines(output: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let fields = line.as_object_mut().unwrap();
            for key in ["tokens_per_s", "resident_bytes"] {
                fields.remove(key);
            }
            line
        })
        .collect()
}

fn weights(output: &Path) -> Vec<u8> {
    std::fs::read(output.join(ADAPTER_WEIGHTS_FILE)).unwrap()
}

/// Fifty steps on 1, 2 and 4 ranks: sums in pairs make them equal in every bit.
fn same_on_all(preset_of: Preset) {
    same_with(preset_of, &training(50));
}

fn same_with(preset_of: Preset, training: &TrainingConfig) {
    let folder = tempfile::tempdir().unwrap();
    let (adapter, train) = (preset(preset_of), samples());
    let mut expected = None;
    for size in [1, 2, 4] {
        let output = folder.path().join(size.to_string());
        let run = Run { adapter: &adapter, training, train: &train, output: &output };
        let summaries: Vec<_> = run.on(size, &Resume::No).into_iter().map(Result::unwrap).collect();
        let losses = summaries.iter().map(|of| (of.train_loss, of.evaluation.clone()));
        assert!(losses.clone().all(|of| of == losses.clone().next().unwrap()), "{preset_of}");
        let found = (lines(&output), weights(&output));
        // The line of the run, and two evaluations.
        assert_eq!(found.0.len(), training.max_steps + 3);
        let (lines, weights) = expected.get_or_insert_with(|| found.clone());
        for (line, found) in lines.iter().zip(&found.0) {
            assert_eq!(line, found, "{preset_of} on {size} ranks");
        }
        assert!(*weights == found.1, "{preset_of} on {size} ranks: another adapter");
    }
}

#[test]
fn lora_learns_the_same() {
    same_on_all(Preset::Lora);
}

#[test]
fn loramoe_learns_the_same_with_its_balance_loss() {
    same_on_all(Preset::LoramoePaper);
}

#[test]
fn goat_learns_the_same_from_its_start() {
    same_on_all(Preset::GoatPaper);
}

#[test]
fn slim_learns_the_same_and_its_clusters_slide_alike() {
    same_on_all(Preset::Slim);
}

#[test]
fn mixlora_learns_the_same() {
    same_on_all(Preset::Mixlora);
}

#[test]
fn a_router_of_the_whole_model_learns_the_same() {
    same_on_all(Preset::XLora);
}

#[test]
fn what_is_computed_again_is_learned_the_same() {
    let training = TrainingConfig { recompute: Recompute::Every(2), ..training(10) };
    same_with(Preset::LoramoePaper, &training);
}

#[test]
fn each_layer_is_a_bucket_where_it_is_large_enough() {
    let (adapter, train) = (preset(Preset::Lora), samples());
    for (mib, buckets) in [(1e-4, 4), (1.0, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let training = TrainingConfig { ddp_bucket_cap_mb: mib, ..training(3) };
        let output = folder.path().join("run");
        let run = Run { adapter: &adapter, training: &training, train: &train, output: &output };
        let sums = ThreadRanks::run(2, LIMIT, |inner| {
            // Those that a thread other than the one that trains makes.
            let (own, sums) = (thread::current().id(), AtomicUsize::new(0));
            let before = |_| {
                let elsewhere = thread::current().id() != own;
                sums.fetch_add(usize::from(elsewhere), Ordering::Relaxed);
            };
            run.rank(&BeforeSums { inner, before }, &Resume::No, &mut Quiet).unwrap();
            sums.into_inner()
        });
        assert_eq!(sums, [3 * buckets; 2], "of {mib} MiB");
    }
}

#[test]
fn unequal_shares_are_equal_to_rounding() {
    let folder = tempfile::tempdir().unwrap();
    let (adapter, training, train) = (preset(Preset::LoramoePaper), training(10), samples());
    let loss = |size: usize| {
        let output = folder.path().join(size.to_string());
        let run = Run { adapter: &adapter, training: &training, train: &train, output: &output };
        run.on(size, &Resume::No).remove(0).unwrap().train_loss
    };
    let (one, three) = (loss(1), loss(3));
    assert!((one - three).abs() < 1e-5, "{one} {three}");
}

#[test]
fn a_run_goes_on_with_any_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let (adapter, training, train) = (preset(Preset::Slim), training(12), samples());
    let whole = folder.path().join("whole");
    let first_run = Run { adapter: &adapter, training: &training, train: &train, output: &whole };
    first_run.on(1, &Resume::No).remove(0).unwrap();
    for (first, second) in [(4, 2), (2, 1), (1, 4)] {
        let output = folder.path().join(format!("{first}-{second}"));
        let run = Run { output: &output, ..first_run };
        // One rank is asked to end, and all do, with a checkpoint.
        let ended = ThreadRanks::run(first, LIMIT, |ranks| {
            let step = if ranks.rank() + 1 == first { 5 } else { usize::MAX };
            run.rank(&ranks, &Resume::No, &mut EndsAt { step, dies: false, reached: false })
        });
        for error in ended {
            assert!(matches!(error, Err(TrainError::Interrupted { step: 5, .. })), "{error:?}");
        }
        run.whole(second, &Resume::LastHealthy);
        assert_eq!(lines(&output), lines(&whole), "{first}, then {second} ranks");
        assert!(weights(&output) == weights(&whole), "{first}, then {second} ranks");
    }
}

#[test]
fn ranks_that_would_train_something_else_are_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let (adapter, usual) = (preset(Preset::Lora), training(4));
    let hotter = TrainingConfig { learning_rate: 2e-2, ..usual.clone() };
    let larger = AdapterConfig { lora_alpha: 3.0, ..adapter.clone() };
    let (train, mut other) = (samples(), samples());
    other[7].input_ids[1] += 1;
    let output = folder.path().join("run");
    let cases = [
        (&adapter, &hotter, &train, "`[training]`"),
        (&larger, &usual, &train, "`[adapter]`"),
        (&adapter, &usual, &other, "the training data"),
    ];
    for (its_adapter, its_training, its_train, named) in cases {
        let errors = ThreadRanks::run(2, LIMIT, |ranks| {
            let run = match ranks.rank() {
                0 => Run { adapter: &adapter, training: &usual, train: &train, output: &output },
                _ => Run {
                    adapter: its_adapter,
                    training: its_training,
                    train: its_train,
                    output: &output,
                },
            };
            run.rank(&ranks, &Resume::No, &mut Quiet).unwrap_err().to_string()
        });
        for error in errors {
            assert!(error.contains("rank 1 has") && error.contains(named), "{error}");
        }
        assert!(!output.join("metrics.jsonl").exists());
    }
    let run = Run { adapter: &adapter, training: &usual, train: &train, output: &output };
    let error = run.on(5, &Resume::No).remove(4).unwrap_err().to_string();
    assert!(error.contains("`training.gradient_accumulation_steps` is 4"), "{error}");
}

#[test]
fn a_rank_that_dies_ends_the_others_and_leaves_the_last_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (adapter, train) = (preset(Preset::Lora), samples());
    let training = TrainingConfig { save_steps: 2, ..training(8) };
    let whole = folder.path().join("whole");
    let output = folder.path().join("run");
    let alone = Run { adapter: &adapter, training: &training, train: &train, output: &whole };
    alone.on(1, &Resume::No).remove(0).unwrap();
    let run = Run { output: &output, ..alone };
    let died = std::panic::catch_unwind(|| {
        ThreadRanks::run(3, LIMIT, |ranks| {
            let step = if ranks.rank() == 2 { 5 } else { usize::MAX };
            let mut observer = EndsAt { step, dies: true, reached: false };
            let ended = run.rank(&ranks, &Resume::No, &mut observer);
            let error = ended.unwrap_err().to_string();
            assert!(error.starts_with("rank 2 of 3 has ended"), "{error}");
        })
    });
    let message = died.unwrap_err().downcast::<&str>().unwrap();
    assert_eq!(*message, "this rank dies");
    assert!(output.join("checkpoint-4").exists() && !output.join("checkpoint-6").exists());
    run.whole(2, &Resume::LastHealthy);
    assert_eq!(lines(&output).len(), lines(&whole).len());
}
