use std::collections::HashMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use lora_moe::study::demo::DemoObserver;

/// A bar on standard error, invisible where that is no terminal.
pub fn bar(steps: usize, name: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
    let template = "{prefix:28} {bar:30} {pos}/{len}  {msg}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar
}

/// A count on standard error, invisible where that is no terminal.
pub fn spinner(name: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{prefix:28} {human_pos}  {per_sec}") {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    bar
}

/// One bar for each run that goes on.
#[derive(Default)]
pub struct Bars {
    all: MultiProgress,
    running: HashMap<String, ProgressBar>,
}

impl Bars {
    /// A line above the bars; where none are drawn, lines are all there is to see.
    fn say(&self, line: &str) {
        if self.all.is_hidden() || self.all.println(line).is_err() {
            eprintln!("{line}");
        }
    }
}

impl DemoObserver for Bars {
    fn on_start(&mut self, run: &str, steps: usize) {
        let bar = self.all.add(bar(steps, run));
        self.running.insert(run.to_owned(), bar);
    }

    fn on_step(&mut self, run: &str, step: usize, loss: f64) {
        if let Some(bar) = self.running.get(run) {
            bar.set_message(format!("loss {loss:.3}"));
            bar.set_position(step as u64);
        }
    }

    fn on_end(&mut self, run: &str) {
        if let Some(bar) = self.running.remove(run) {
            let seconds = bar.elapsed().as_secs();
            bar.finish_and_clear();
            self.say(&format!("{run}: done in {seconds} s"));
        }
    }

    fn on_note(&mut self, note: &str) {
        self.say(note);
    }
}
