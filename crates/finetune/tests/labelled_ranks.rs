//! Ranks train an encoder as one rank does, and resume it as one that was not interrupted.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use burn::module::Module;
use burn::tensor::Device;
use data::{LabelSet, Target};
use finetune::train::{
    Resume, Silent, TextSample, TextTask, TrainError, TrainSummary, Trainer, TrainingConfig,
};
use model_zoo::{ClassificationTask, ProblemType, RobertaClassifier, RobertaConfig};
use moe_adapter::{ADAPTER_WEIGHTS_FILE, AdapterConfig, TargetModules, attach};
use ranks::{Alone, Ranks, ThreadRanks};

fn samples(count: u32) -> Vec<TextSample> {
    let sample = |row: u32| TextSample {
        input_ids: (0..4 + row % 5).map(|at| 3 + (7 * row + 5 * at) % 37).collect(),
        target: Target::Class((row % 3) as usize),
        task_type: None,
    };
    (0..count).map(sample).collect()
}

fn adapter() -> AdapterConfig {
    AdapterConfig {
        modules_to_save: Some(TargetModules::Names(vec!["classifier".into()])),
        ..AdapterConfig::lora(2, 4.0, TargetModules::all_linear())
    }
}

fn training() -> TrainingConfig {
    TrainingConfig {
        learning_rate: 1e-2,
        max_steps: 12,
        per_device_train_batch_size: 2,
        gradient_accumulation_steps: 4,
        save_steps: 6,
        save_total_limit: 9,
        eval_steps: 6,
        metric_for_best_model: "eval_accuracy".into(),
        ..TrainingConfig::default()
    }
}

fn rank(ranks: &dyn Ranks, output: &Path, resume: &Resume) -> Result<TrainSummary, TrainError> {
    let names = ["a", "b", "c"].map(str::to_owned).to_vec();
    let labels = LabelSet::new(names.clone(), ProblemType::SingleLabelClassification)?;
    let mut config = RobertaConfig::new(40, 16, 24, 2, 2, ClassificationTask::new(names));
    config.max_position_embeddings = 18;
    let mut model: RobertaClassifier =
        RobertaClassifier::init_random(&config, 0, &Device::flex()).unwrap().no_grad();
    let (adapter, training, train) = (adapter(), training(), samples(24));
    attach(&mut model, &adapter, 1).unwrap();
    let task = TextTask::new(&labels);
    let samples = [&train[..], &train[..5]];
    let trainer = Trainer::for_task(task, model, &adapter, &training, samples, output)?;
    Ok(trainer.with_ranks(ranks).run(resume, &mut Silent)?.1)
}

fn on(size: usize, output: &Path, resume: &Resume) -> Vec<TrainSummary> {
    if size == 1 {
        return vec![rank(&Alone, output, resume).unwrap()];
    }
    let limit = Duration::from_secs(120);
    let found = ThreadRanks::run(size, limit, |ranks| rank(&ranks, output, resume));
    found.into_iter().map(Result::unwrap).collect()
}

#[test]
fn encoders_learn_and_measure_the_same_on_any_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let weights =
        |name: &str| std::fs::read(folder.path().join(name).join(ADAPTER_WEIGHTS_FILE)).unwrap();
    let mut expected = None;
    for size in [1, 2, 4] {
        let output = folder.path().join(size.to_string());
        for found in on(size, &output, &Resume::No) {
            let validation = found.evaluation.clone().unwrap();
            let found = (found.train_loss, validation, found.best);
            assert_eq!(&found, expected.get_or_insert_with(|| found.clone()), "{size} ranks");
        }
        assert_eq!(weights("1"), weights(&size.to_string()), "{size} ranks");
    }
    let names: Vec<_> = expected.unwrap().1.measured.into_iter().map(|of| of.name).collect();
    assert_eq!(names, ["eval_accuracy", "eval_f1_macro", "eval_matthews_correlation"]);

    // Two ranks go on where one has left off.
    let checkpoint = Resume::From("checkpoint-6".into());
    on(2, &folder.path().join("1"), &checkpoint);
    assert_eq!(weights("1"), weights("4"));
}

#[test]
fn what_only_decoders_have_is_refused() {
    let names = vec!["a".to_owned(), "b".to_owned()];
    let labels = LabelSet::new(names, ProblemType::SingleLabelClassification).unwrap();
    let task = ClassificationTask::new(["a", "b"]);
    let config = RobertaConfig::new(40, 16, 24, 2, 2, task);
    for change in [
        |c: &mut TrainingConfig| c.recompute = "block".parse().unwrap(),
        |c: &mut TrainingConfig| c.packing = true,
        |c: &mut TrainingConfig| c.pad_to_multiple_of = 8,
    ] {
        let mut training = training();
        change(&mut training);
        let model: RobertaClassifier =
            RobertaClassifier::init_random(&config, 0, &Device::flex()).unwrap();
        let (adapter, train) = (adapter(), samples(4));
        let (task, samples) = (TextTask::new(&labels), [&train[..], &[]]);
        let output = Path::new("never-written");
        let refused = Trainer::for_task(task, model, &adapter, &training, samples, output);
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("for encoders"), "{error}");
    }
}
