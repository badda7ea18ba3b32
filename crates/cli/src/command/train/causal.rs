use anyhow::Result;
use lora_moe::burn::tensor::Device;
use lora_moe::data::DataFile;
use lora_moe::finetune::run::{PreparedRun, RunConfig, TaskEvaluation};
use lora_moe::finetune::train::{Resume, TrainObserver, TrainSummary, Trainer};
use lora_moe::moe_adapter::trainable_parameters;
use lora_moe::ranks::Ranks;

use super::observer::{Bar, Follower};
use super::preparing::Preparing;
use super::{Begin, over, report};
use crate::interrupt::Interrupt;
use crate::text::shares;

/// Trains a language model.
pub fn run(
    config: &RunConfig,
    device: &Device,
    begin: &Begin,
    interrupt: &Interrupt,
    ranks: &dyn Ranks,
) -> Result<()> {
    let bars = Preparing::new(ranks);
    let run = PreparedRun::new(config, device, &begin.resume, ranks, &|step| bars.show(step))?;
    bars.finish();
    if ranks.is_first() {
        describe(&run, &config.data.train, ranks);
    }
    begin.clear(&config.output_dir)?;
    interrupt.listen()?;
    if !ranks.is_first() {
        train(config, run, &begin.resume, ranks, &mut Follower { interrupt })?;
        return Ok(());
    }
    let mut observer = Bar::new(config.training.routing_collapse_threshold, interrupt);
    let summary = train(config, run, &begin.resume, ranks, &mut observer)?;
    observer.finish();
    report(&summary, ranks, &config.output_dir);
    Ok(())
}

/// Trains a run that was prepared.
pub(super) fn train(
    config: &RunConfig,
    run: PreparedRun,
    resume: &Resume,
    ranks: &dyn Ranks,
    observer: &mut dyn TrainObserver,
) -> Result<TrainSummary> {
    let evaluations: Vec<TaskEvaluation<'_>> = config
        .evaluation
        .iter()
        .map(|entry| TaskEvaluation::new(entry, &run.tokenizer, &config.output_dir))
        .collect::<Result<_, _>>()?;
    let mut trainer = Trainer::of_samples(
        run.model,
        &config.adapter,
        &config.training,
        [&run.train, &run.validation],
        &config.output_dir,
    )?
    .with_base_model(config.model.path.display().to_string())
    .with_ranks(ranks);
    if let Some(mixture) = &run.mixture {
        trainer = trainer.with_mixture(mixture);
    }
    for evaluation in evaluations {
        trainer = trainer.with_evaluation(Box::new(evaluation));
    }
    let (_, summary) = trainer.run(resume, observer)?;
    if ranks.is_first() && !config.model.new_tokens.is_empty() {
        run.tokenizer.save(&config.output_dir)?;
    }
    Ok(summary)
}

/// Says what is trained on what.
pub(super) fn describe(run: &PreparedRun, files: &[DataFile], ranks: &dyn Ranks) {
    let trainable = trainable_parameters(&run.model);
    eprintln!("data: {}", run.train_report);
    for line in run.mixture.iter().flat_map(|mixture| shares(files, mixture)) {
        eprintln!("{line}");
    }
    eprintln!(
        "{} samples to train on, {} to validate on; {trainable} trainable parameters on {} \
         linears{}",
        run.train.len(),
        run.validation.len(),
        run.adapted,
        over(ranks)
    );
}
