use std::path::Path;

use indicatif::{MultiProgress, ProgressBar};
use lora_moe::finetune::train::{
    Measurement, NonFinite, NonFinitePolicy, Progress, RoutingCollapse, StepReport, TrainObserver,
    Validation,
};

use crate::interrupt::Interrupt;
use crate::progress::bar;

/// What was found on validation data.
pub fn validated(validation: &Validation) -> String {
    let measured = validation.measured.iter();
    let others: Vec<String> = measured
        .map(|of| format!("{} {:.4}", of.name.trim_start_matches("eval_"), of.value))
        .collect();
    let others =
        if others.is_empty() { String::new() } else { format!(" ({})", others.join(", ")) };
    format!("validation loss {:.4}{others}", validation.loss)
}

/// Watches on a rank other than the first, which says everything.
pub struct Follower<'a> {
    pub interrupt: &'a Interrupt,
}

impl TrainObserver for Follower<'_> {
    fn interrupts(&mut self) -> bool {
        self.interrupt.asked()
    }
}

/// Draws the run; where standard error is no terminal, only evaluations and checkpoints show.
pub struct Bar<'a> {
    bar: Option<ProgressBar>,
    threshold: f64,
    interrupt: &'a Interrupt,
    /// The bars of all runs that go on at once, and what this one is called.
    among: Option<(MultiProgress, String)>,
}

impl<'a> Bar<'a> {
    /// For a run that warns of routing shares above a threshold.
    pub fn new(threshold: f64, interrupt: &'a Interrupt) -> Self {
        Self { bar: None, threshold, interrupt, among: None }
    }

    /// Among others: what it says begins with a name.
    pub fn among(mut self, bars: &MultiProgress, name: String) -> Self {
        self.among = Some((bars.clone(), name));
        self
    }

    /// Ends what is drawn.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish();
        }
    }

    fn say(&self, text: String) {
        let text = match &self.among {
            Some((_, name)) => format!("{name}: {text}"),
            None => text,
        };
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
            let bar = match &self.among {
                None => bar(progress.total_steps, "training"),
                Some((bars, name)) => bars.add(bar(progress.total_steps, name)),
            };
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
