use std::path::Path;

use anyhow::Result;
use indicatif::ProgressBar;
use lora_moe::data::DataFile;
use lora_moe::device::parse_device;
use lora_moe::finetune::run::{PreparedRun, RunConfig, TaskEvaluation};
use lora_moe::finetune::train::{
    Measurement, NonFinite, NonFinitePolicy, Progress, Resume, RoutingCollapse, StepReport,
    TrainObserver, TrainSummary, Trainer, Validation,
};
use lora_moe::moe_adapter::trainable_parameters;
use lora_moe::ranks::{Ranks, agree};

use crate::args::TrainArgs;
use crate::interrupt::Interrupt;
use crate::launch::Launch;
use crate::progress::bar;
use crate::text::shares;

/// Runs `lora-moe train`.
pub fn run(args: &TrainArgs, device: &str, interrupt: &Interrupt, launch: &Launch) -> Result<()> {
    if args.dry_run {
        return super::dry_run::run(args, device);
    }
    let ranks = launch.ranks();
    let device = parse_device(&launch.device(device))?;
    let config = RunConfig::from_file(&args.config, &args.set)?;
    if ranks.size() > 1 {
        let properties = [
            ("the version of lora-moe", env!("CARGO_PKG_VERSION").to_owned()),
            ("the configuration", format!("{config:?}")),
            ("`--resume`", format!("{:?}", args.resume)),
        ];
        agree(ranks, &properties)?;
    }
    let resume = match &args.resume {
        None => Resume::No,
        Some(None) => Resume::LastHealthy,
        Some(Some(checkpoint)) => Resume::From(checkpoint.clone()),
    };
    let decomposing = match ranks.is_first() {
        true => bar(0, "decomposing weights"),
        false => ProgressBar::hidden(),
    };
    let run = PreparedRun::new(&config, &device, &resume, &|done, total| {
        decomposing.set_length(total as u64);
        decomposing.set_position(done as u64);
    })?;
    decomposing.finish_and_clear();
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
        trainer.run(&resume, &mut Follower { interrupt })?;
        return Ok(());
    }
    let threshold = config.training.routing_collapse_threshold;
    let mut observer = Bar { bar: None, threshold, interrupt };
    let (_, summary) = trainer.run(&resume, &mut observer)?;
    if let Some(bar) = observer.bar.take() {
        bar.finish();
    }
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
    let over = match ranks.size() {
        1 => String::new(),
        size => format!(", over {size} ranks"),
    };
    eprintln!(
        "{} samples to train on, {} to validate on; {trainable} trainable parameters on {} \
         linears{over}",
        run.train.len(),
        run.validation.len(),
        run.adapted
    );
}

/// Says what came of a run.
fn report(summary: &TrainSummary, ranks: &dyn Ranks, output_dir: &Path) {
    if let Some(validation) = &summary.evaluation {
        eprintln!("{} over {} targets", validated(validation), validation.targets);
    }
    if summary.stopped_early {
        eprintln!("stopped early: `training.early_stopping_patience` evaluations brought no gain");
    }
    if ranks.size() > 1 {
        eprintln!(
            "{:.1} of {:.1} s in sums over {} ranks, waiting for others included",
            summary.sum_seconds,
            summary.seconds,
            ranks.size()
        );
    }
    eprintln!(
        "{} steps, {:.0} tokens/s; the adapter is in {}",
        summary.steps,
        summary.tokens_per_s,
        output_dir.display()
    );
}

/// What was found on validation data.
fn validated(validation: &Validation) -> String {
    let measured = validation.measured.iter();
    let others: Vec<String> = measured
        .map(|of| format!("{} {:.4}", of.name.trim_start_matches("eval_"), of.value))
        .collect();
    let others =
        if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    format!("validation loss {:.4}{others}", validation.loss)
}

/// Watches on a rank other than the first, which says everything.
struct Follower<'a> {
    interrupt: &'a Interrupt,
}

impl TrainObserver for Follower<'_> {
    fn interrupts(&mut self) -> bool {
        self.interrupt.asked()
    }
}

/// Draws the run; where standard error is no terminal, only evaluations and checkpoints show.
struct Bar<'a> {
    bar: Option<ProgressBar>,
    threshold: f64,
    interrupt: &'a Interrupt,
}

impl Bar<'_> {
    fn say(&self, text: String) {
        match &self.bar {
            Some(bar) if !bar.is_hidden() => bar.println(text),
            _ => eprintln!("{text}"),
        }
    }
}

impl TrainObserver for Bar<'_> {
    fn on_resume(&mut self, step: usize, folder: &Path, removed: usize) {
        let later = match removed {
            0 => String::new(),
            1 => "; the checkpoint after it was removed".to_owned(),
            removed => format!("; the {removed} checkpoints after it were removed"),
        };
        self.say(format!("going on after step {step} from {}{later}", folder.display()));
    }

    fn on_non_finite(&mut self, step: usize, what: &NonFinite, policy: NonFinitePolicy) {
        self.say(format!("warning: step {step} was {policy}: {what}"));
    }

    fn on_unhealthy(&mut self, step: usize, loss: Option<f64>) {
        let loss = loss.map_or("no number".to_owned(), |loss| format!("{loss:.4}"));
        self.say(format!(
            "warning: step {step}: the checkpoint is not healthy: its loss is {loss}, far above the \
             start's; the last healthy one is kept, and --resume goes on from there"
        ));
    }

    fn on_step(&mut self, progress: &Progress, report: &StepReport) {
        let bar = self.bar.get_or_insert_with(|| {
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
        let memory = match progress.resident_bytes {
            Some(bytes) => format!(", {:.1} GB", bytes / 1e9),
            None => String::new(),
        };
        bar.set_message(format!(
            "loss {:.4}{balance}, {:.0} tokens/s{memory}",
            report.loss, progress.tokens_per_s
        ));
        bar.set_position(progress.step as u64);
    }

    fn on_evaluation(&mut self, step: usize, validation: &Validation) {
        self.say(format!("step {step}: {}", validated(validation)));
    }

    fn on_measurements(&mut self, step: usize, measured: &[Measurement]) {
        let all: Vec<_> =
            measured.iter().map(|of| format!("{} {:.4}", of.name, of.value)).collect();
        self.say(format!("step {step}: {}", all.join(", ")));
    }

    fn on_routing_collapse(&mut self, step: usize, collapsed: &[RoutingCollapse]) {
        let Some(worst) = collapsed.iter().max_by(|a, b| a.share.total_cmp(&b.share)) else {
            return;
        };
        let more = match collapsed.len() - 1 {
            0 => String::new(),
            1 => " (and in 1 more projection)".to_owned(),
            more => format!(" (and in {more} more projections)"),
        };
        self.say(format!(
            "warning: step {step}: routing has collapsed: expert {} of {} has received more than \
             {:.0} % of the routing weight for {} logged steps{more}; consider a (larger) balance \
             loss or a lower learning rate, and see `lora-moe inspect --routing`",
            worst.expert,
            worst.site,
            100.0 * self.threshold,
            worst.steps
        ));
    }

    fn on_checkpoint(&mut self, step: usize, folder: &Path) {
        self.say(format!("step {step}: checkpoint in {}", folder.display()));
    }

    fn interrupts(&mut self) -> bool {
        self.interrupt.asked()
    }
}
