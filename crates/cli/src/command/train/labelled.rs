use anyhow::Result;
use lora_moe::burn::tensor::Device;
use lora_moe::finetune::run::{LabelledData, PreparedLabelledRun, RunConfig};
use lora_moe::ranks::Ranks;

use super::observer::{Bar, Follower};
use super::{Begin, decomposing, over, report};
use crate::interrupt::Interrupt;

/// Trains an encoder.
pub fn run(
    config: &RunConfig<LabelledData>,
    device: &Device,
    begin: &Begin,
    interrupt: &Interrupt,
    ranks: &dyn Ranks,
) -> Result<()> {
    let bar = decomposing(ranks);
    let run = PreparedLabelledRun::new(config, device, &begin.resume, ranks, &|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    if ranks.is_first() {
        eprintln!("data: {}", run.train_report);
        eprintln!(
            "{} samples to train on, {} to validate on; {} trainable parameters, the head's \
             included, on {} linears{}",
            run.train_report.samples,
            run.validation_report.samples,
            run.trainable,
            run.adapted,
            over(ranks)
        );
    }
    begin.clear(&config.output_dir)?;
    interrupt.listen()?;
    if !ranks.is_first() {
        run.train(config, &begin.resume, ranks, &mut Follower { interrupt })?;
        return Ok(());
    }
    let mut observer = Bar::new(config.training.routing_collapse_threshold, interrupt);
    let summary = run.train(config, &begin.resume, ranks, &mut observer)?;
    observer.finish();
    report(&summary, ranks, &config.output_dir);
    Ok(())
}
