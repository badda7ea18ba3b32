use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use balance_loss::{BalanceLoss, BalanceLossError};
use burn::tensor::{Device, Tensor};
use model_zoo::{Decoder, DecoderConfig};
use moe_adapter::{ADAPTER_WEIGHTS_FILE, TargetModules, attach};
use router::RoutingTape;
use serde_json::Value;

use super::*;
use crate::train::checkpoint::checkpoint_folder;
use crate::train::{NonFinite, NonFinitePolicy, Progress, Silent, TrainerState, latest_checkpoint};

/// Is no number in some of the forward passes, counted from 1.
struct FailsAt {
    passes: std::ops::Range<usize>,
    seen: AtomicUsize,
}

impl BalanceLoss for FailsAt {
    fn loss(&self, _: &RoutingTape) -> Result<Option<Tensor<1>>, BalanceLossError> {
        let pass = self.seen.fetch_add(1, Ordering::Relaxed) + 1;
        let value = if self.passes.contains(&pass) { f32::NAN } else { 0.0 };
        Ok(Some(Tensor::from_inner(Tensor::full([1], value, &Device::flex()))))
    }
}

struct Place {
    folder: tempfile::TempDir,
    adapter: AdapterConfig,
    samples: Vec<Sample>,
}

impl Place {
    fn new() -> Self {
        let sample = |row: u32| Sample {
            input_ids: (0..8).map(|at| (5 * row + 3 * at) % 40).collect(),
            target_mask: (0..8).map(|at| at > 0).collect(),
            task_type: None,
            ..Sample::default()
        };
        Self {
            folder: tempfile::tempdir().unwrap(),
            adapter: AdapterConfig::lora(2, 4.0, TargetModules::all_linear()),
            samples: (0..16).map(sample).collect(),
        }
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// A run whose balance loss is no number in some steps.
    fn run(
        &self,
        passes: std::ops::Range<usize>,
        training: &TrainingConfig,
        observer: &mut dyn TrainObserver,
    ) -> Result<TrainSummary, TrainError> {
        let model = self.model();
        let output = self.output();
        let mut trainer =
            Trainer::new(model.clone(), &self.adapter, training, &self.samples, &[], &output)?;
        let fails = Box::new(FailsAt { passes, seen: AtomicUsize::new(0) });
        trainer.learner =
            Learner::new(model, Some(fails), LearnerConfig::new(training, &self.adapter)).unwrap();
        Ok(trainer.run(&Resume::No, observer)?.1)
    }

    fn model(&self) -> Decoder {
        let config = DecoderConfig::new(40, 32, 48, 2, 4);
        let mut model: Decoder = Decoder::init_random(&config, 0, &Device::flex()).unwrap();
        model = burn::module::Module::no_grad(model);
        attach(&mut model, &self.adapter, 0).unwrap();
        model
    }

    fn resumed(
        &self,
        resume: &Resume,
        training: &TrainingConfig,
    ) -> Result<TrainSummary, TrainError> {
        let (model, output) = (self.model(), self.output());
        let trainer = Trainer::new(model, &self.adapter, training, &self.samples, &[], &output)?;
        Ok(trainer.run(resume, &mut Silent)?.1)
    }

    fn weights(&self, folder: &str) -> Vec<u8> {
        std::fs::read(self.output().join(folder).join(ADAPTER_WEIGHTS_FILE)).unwrap()
    }

    /// The lines of metrics, without the one that the run begins with.
    fn lines(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.output().join(METRICS_FILE)).unwrap();
        text.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn training(non_finite: NonFinitePolicy, max_steps: usize) -> TrainingConfig {
    TrainingConfig {
        learning_rate: 1e-2,
        warmup_ratio: 0.0,
        max_steps,
        per_device_train_batch_size: 4,
        logging_steps: 1,
        save_steps: 2,
        save_total_limit: 9,
        non_finite,
        max_non_finite_steps: 2,
        ..TrainingConfig::default()
    }
}

#[test]
fn a_step_that_is_not_finite_ends_the_run_and_names_the_parameter_and_the_way_back() {
    let place = Place::new();
    let training = training(NonFinitePolicy::Error, 8);
    let error = place.run(5..6, &training, &mut Silent).unwrap_err().to_string();
    assert!(error.starts_with("step 5: the loss is NaN"), "{error}");
    let resume = format!("--resume {}", place.output().join("checkpoint-4").display());
    assert!(error.contains(&resume), "{error}");
    assert!(error.contains("--set training.learning_rate=1e-3"), "{error}");
}

#[test]
fn a_step_that_is_skipped_changes_nothing_and_is_written_down() {
    struct Watch(Vec<(usize, String)>);
    impl TrainObserver for Watch {
        fn on_non_finite(&mut self, step: usize, what: &NonFinite, policy: NonFinitePolicy) {
            self.0.push((step, format!("{policy}: {what}")));
        }
    }
    let place = Place::new();
    let mut watch = Watch(Vec::new());
    let training = training(NonFinitePolicy::Skip, 6);
    let summary = place.run(5..7, &training, &mut watch).unwrap();
    assert_eq!(summary.steps, 6);
    assert!(summary.train_loss.is_finite());
    assert_eq!(watch.0.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [5, 6]);
    assert!(watch.0[0].1.starts_with("skipped: the loss is NaN"), "{}", watch.0[0].1);
    assert_eq!(place.weights("checkpoint-4"), place.weights(""));
    let lines = place.lines();
    assert_eq!(lines.len(), 6);
    assert_eq!((&lines[4]["step"], &lines[4]["action"]), (&5.into(), &"skip".into()));
    assert!(lines[4]["non_finite"].is_string() && lines[3]["loss"].is_number());
}

#[test]
fn a_rollback_goes_to_the_weights_and_moments_of_the_last_healthy_checkpoint() {
    let place = Place::new();
    place.run(4..5, &training(NonFinitePolicy::Rollback, 4), &mut Silent).unwrap();
    // Step 3 is undone too.
    assert_eq!(place.weights("checkpoint-2"), place.weights(""));
    let moments = |step: usize| {
        let folder = checkpoint_folder(&place.output(), step);
        std::fs::read(folder.join("optimizer.safetensors")).unwrap()
    };
    assert_eq!(moments(2), moments(4));
    assert_eq!(place.lines()[3]["action"], "rollback");
}

#[test]
fn steps_are_not_passed_over_without_end() {
    for (policy, done) in
        [(NonFinitePolicy::Skip, "skipped"), (NonFinitePolicy::Rollback, "rolled back")]
    {
        let place = Place::new();
        let error = place.run(3..9, &training(policy, 9), &mut Silent).unwrap_err().to_string();
        // The checkpoint of step 4 is the one of step 2 again, which is no progress.
        assert!(error.starts_with("step 5: "), "{error}");
        assert!(error.contains(&format!("2 steps were {done} in vain")), "{error}");
    }
}

#[test]
fn a_checkpoint_says_whether_it_is_healthy() {
    let place = Place::new();
    place.run(0..0, &training(NonFinitePolicy::Error, 4), &mut Silent).unwrap();
    let state: TrainerState = serde_json::from_str(
        &std::fs::read_to_string(place.output().join("checkpoint-4/trainer_state.json")).unwrap(),
    )
    .unwrap();
    assert_eq!(state.last_healthy, Some(4));
    let health = state.health.unwrap();
    assert!(health.healthy && health.loss < state.first_loss, "{health:?}");
}

#[test]
fn a_run_whose_folder_is_moved_away_says_so_and_begins_no_other() {
    struct Moves(PathBuf);
    impl TrainObserver for Moves {
        fn on_step(&mut self, progress: &Progress, _: &crate::train::StepReport) {
            if progress.step == 3 {
                std::fs::rename(&self.0, self.0.with_extension("moved")).unwrap();
            }
        }
    }
    let place = Place::new();
    let training = training(NonFinitePolicy::Error, 8);
    let error = place.run(0..0, &training, &mut Moves(place.output())).unwrap_err().to_string();
    assert!(error.contains("was moved or removed"), "{error}");
    assert!(!place.output().exists());
    let moved = place.output().with_extension("moved");
    assert!(latest_checkpoint(&moved) == Some(checkpoint_folder(Path::new(&moved), 2)));
}

#[test]
fn a_run_with_an_average_leaves_it_and_resumes_with_the_same_numbers() {
    let place = Place::new();
    let training = TrainingConfig { ema_decay: 0.9, ..training(NonFinitePolicy::Error, 6) };
    place.run(0..0, &training, &mut Silent).unwrap();
    let whole = place.weights("");
    assert_eq!(place.weights("checkpoint-6"), whole);
    let plain = Place::new();
    plain.run(0..0, &TrainingConfig { ema_decay: 0.0, ..training.clone() }, &mut Silent).unwrap();
    assert_ne!(plain.weights(""), whole);

    let resume = Resume::From(checkpoint_folder(&place.output(), 4));
    place.resumed(&resume, &training).unwrap();
    assert_eq!(place.weights(""), whole);
    let other = TrainingConfig { ema_decay: 0.0, ..training };
    let error = place.resumed(&resume, &other).unwrap_err().to_string();
    assert!(error.contains("`training.ema_decay` = 0.9, but it is now 0.0"), "{error}");
}

#[test]
fn what_is_set_in_one_run_only_keeps_it_from_being_resumed() {
    let place = Place::new();
    let before = training(NonFinitePolicy::Error, 4);
    place.run(0..0, &before, &mut Silent).unwrap();
    let group = crate::train::ParamGroup {
        params: "A".into(),
        learning_rate: Some(1.0),
        weight_decay: None,
    };
    let after = TrainingConfig { param_groups: vec![group], ..before };
    let resume = Resume::From(checkpoint_folder(&place.output(), 2));
    let error = place.resumed(&resume, &after).unwrap_err().to_string();
    assert!(error.contains("`training.param_groups` = not set, but it is now ["), "{error}");
}

#[test]
fn a_learner_counts_its_steps() {
    let place = Place::new();
    let training = training(NonFinitePolicy::Error, 1);
    let config = LearnerConfig::new(&training, &place.adapter);
    let mut learner = Learner::new(place.model(), None, config).unwrap();
    assert_eq!(learner.steps(), 0);
    for made in 1..=3 {
        let batch = learner.task().batch(learner.model(), &place.samples[..2], &[0, 1]).unwrap();
        learner.step(&[batch], 1e-3).unwrap();
        assert_eq!(learner.steps(), made);
    }
}
