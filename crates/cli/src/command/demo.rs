use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use lora_moe::device::parse_device;
use lora_moe::finetune::demo::{DemoConfig, DemoObserver, SearchRow, run_demo, search};
use lora_moe::finetune::report::{
    ResultRow, headline, plane_svg, terminal_table, write_report, write_results, write_svg,
};

use crate::args::DemoArgs;
use crate::progress::bar;

/// Runs `lora-moe demo`.
#[allow(clippy::print_stdout)]
pub fn run(args: &DemoArgs, device: &str) -> Result<()> {
    let mut config = match &args.config {
        None => DemoConfig::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text)
                .with_context(|| format!("{} is no configuration of the demo", path.display()))?
        }
    };
    if let Some(seed) = args.seed {
        config.seed = seed;
        config.world.seed = seed;
    }
    let device = parse_device(device)?;
    let cache = args.cache.clone().unwrap_or_else(default_cache);
    let mut observer = Bars::default();
    if args.search {
        let rows = search(&config, &args.grid, &cache, &device, &mut observer)?;
        observer.finish();
        print!("{}", search_table(&rows));
        return Ok(());
    }
    let command: Vec<_> = std::env::args().skip(1).collect();
    let command = format!("lora-moe {}", command.join(" "));
    let report = run_demo(&config, &cache, &device, &command, &mut observer)?;
    observer.finish();
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let write = |name: &str| args.output.join(name);
    write_results(&write("results.json"), &report.rows).context("results.json")?;
    write_report(&write("report.html"), &report).context("report.html")?;
    write_svg(&write("plane.svg"), &plane_svg(&report)).context("plane.svg")?;
    println!("{}", terminal_table(&report));
    for sentence in headline(&report) {
        println!("{sentence}");
    }
    eprintln!("\n{:.0} s; the report is in {}", report.seconds, write("report.html").display());
    Ok(())
}

/// The folder for what can be made again: `$XDG_CACHE_HOME/lora-moe` or `~/.cache/lora-moe`.
fn default_cache() -> PathBuf {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .unwrap_or_else(std::env::temp_dir)
        .join("lora-moe")
}

fn search_table(rows: &[SearchRow]) -> String {
    let mut table = format!(
        "{:10} {:>13} {:>6} {:>9} {:>6}\n",
        "method", "learning rate", "tasks", "knowledge", "mean"
    );
    for row in rows {
        table += &format!(
            "{:10} {:>13} {:>6.3} {:>9.3} {:>6.3}\n",
            row.method, row.learning_rate, row.tasks, row.knowledge, row.score
        );
    }
    table
}

#[derive(Default)]
struct Bars {
    current: Option<ProgressBar>,
}

impl Bars {
    fn finish(&mut self) {
        if let Some(bar) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}

impl DemoObserver for Bars {
    fn on_stage(&mut self, name: &str, steps: usize) {
        self.finish();
        self.current = Some(bar(steps, name));
    }

    fn on_step(&mut self, step: usize, loss: f64) {
        if let Some(bar) = &self.current {
            bar.set_position(step as u64);
            bar.set_message(format!("loss {loss:.3}"));
        }
    }

    fn on_result(&mut self, row: &ResultRow) {
        self.finish();
        eprintln!(
            "{:10} {:>6} samples: tasks {:.3}, knowledge kept {:.3}, loss on text {:.3} ({:.0} s)",
            row.method, row.samples, row.tasks, row.knowledge, row.text_loss, row.seconds
        );
    }
}
