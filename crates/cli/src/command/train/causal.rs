use anyhow::Result;
use lora_moe::burn::tensor::Device;
use lora_moe::data::DataFile;
use lora_moe::finetune::run::{PreparedRun, RunConfig, TaskEvaluation};
use lora_moe::finetune::train::{Resume, Trainer};
use lora_moe::moe_adapter::trainable_parameters;
use lora_moe::ranks::Ranks;

use super::observer::{Bar, Follower};
use super::{decomposing, over, report};
use crate::interrupt::Interrupt;
use crate::text::shares;

/// Trains a language model.
pub fn run(
    config: &RunConfig,
    device: &Device,
    resume: &Resume,
    interrupt: &Interrupt,
    ranks: &dyn Ranks,
) -> Result<()> {
    let bar = decomposing(ranks);
    let run = PreparedRun::new(config, device, resume, &|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if ranks.is_first() {
        describe(&run, &config.data.train, ranks);
    }
    let evaluations: Vec<TaskEvaluation<'_>> = config
        .evaluation
        .iter()
        .map(|entry| TaskEvaluation::new(entry, &run.tokenizer, &config.output_dir))
        .collect::<Result<_, _>>()?;
    let mut trainer = Trainer::new(
        run.model,
        &config.adapter,
        &config.training,
        &run.train,
        &run.validation,
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
    interrupt.listen()?;
    if !ranks.is_first() {
        trainer.run(resume, &mut Follower { interrupt })?;
        return Ok(());
    }
    let mut observer = Bar::new(config.training.routing_collapse_threshold, interrupt);
    let (_, summary) = trainer.run(resume, &mut observer)?;
    observer.finish();
    if !config.model.new_tokens.is_empty() {
        run.tokenizer.save(&config.output_dir)?;
    }
    report(&summary, ranks, &config.output_dir);
    Ok(())
}

/// Says what is trained on what.
fn describe(run: &PreparedRun, files: &[DataFile], ranks: &dyn Ranks) {
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
