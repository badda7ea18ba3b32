use std::path::Path;

use anyhow::Result;
use indicatif::ProgressBar;
use lora_moe::device::parse_device;
use lora_moe::finetune::run::{PreparedRun, RunConfig};
use lora_moe::finetune::train::{Evaluation, Progress, StepReport, TrainObserver, Trainer};
use lora_moe::moe_adapter::trainable_parameters;

use crate::args::TrainArgs;
use crate::progress::bar;

/// Runs `lora-moe train`.
pub fn run(args: &TrainArgs, device: &str) -> Result<()> {
    let device = parse_device(device)?;
    let config = RunConfig::from_file(&args.config, &args.set)?;
    let decomposing = bar(0, "decomposing weights");
    let run = PreparedRun::new(&config, &device, args.resume, &|done, total| {
        decomposing.set_length(total as u64);
        decomposing.set_position(done as u64);
    })?;
    decomposing.finish_and_clear();
    let trainable = trainable_parameters(&run.model);
    eprintln!("data: {}", run.train_report);
    eprintln!(
        "{} samples to train on, {} to validate on; {trainable} trainable parameters on {} linears",
        run.train.len(),
        run.validation.len(),
        run.adapted
    );
    let trainer = Trainer::new(
        run.model,
        &config.adapter,
        &config.training,
        &run.train,
        &run.validation,
        &config.output_dir,
    )?
    .with_base_model(config.model.path.display().to_string());
    let mut observer = Bar(None);
    let (_, summary) = trainer.run(args.resume, &mut observer)?;
    if let Some(bar) = observer.0.take() {
        bar.finish();
    }
    if let Some(evaluation) = &summary.evaluation {
        eprintln!(
            "validation loss {:.4} (perplexity {:.2}) over {} targets",
            evaluation.loss,
            evaluation.perplexity(),
            evaluation.targets
        );
    }
    eprintln!(
        "{} steps, {:.0} tokens/s; the adapter is in {}",
        summary.steps,
        summary.tokens_per_s,
        config.output_dir.display()
    );
    Ok(())
}

/// Draws the run; where standard error is no terminal, only evaluations and checkpoints show.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn say(&self, text: String) {
        match &self.0 {
            Some(bar) if !bar.is_hidden() => bar.println(text),
            _ => eprintln!("{text}"),
        }
    }
}

impl TrainObserver for Bar {
    fn on_step(&mut self, progress: &Progress, report: &StepReport) {
        let bar = self.0.get_or_insert_with(|| {
            let bar = bar(progress.total_steps, "training");
            // A resumed run starts in the middle, which must not count as speed.
            bar.set_position(progress.step.saturating_sub(1) as u64);
            bar.reset_eta();
            bar
        });
        let balance = match report.balance_loss {
            Some(loss) => format!(", balance loss {loss:.4}"),
            None => String::new(),
        };
        bar.set_message(format!(
            "loss {:.4}{balance}, {:.0} tokens/s",
            report.loss, progress.tokens_per_s
        ));
        bar.set_position(progress.step as u64);
    }

    fn on_evaluation(&mut self, step: usize, evaluation: &Evaluation) {
        self.say(format!("step {step}: validation loss {:.4}", evaluation.loss));
    }

    fn on_checkpoint(&mut self, step: usize, folder: &Path) {
        self.say(format!("step {step}: checkpoint in {}", folder.display()));
    }
}
