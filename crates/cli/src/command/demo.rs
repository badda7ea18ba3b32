use std::path::PathBuf;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use lora_moe::device::parse_device;
use lora_moe::study::demo::{
    DemoConfig, SearchRow, headline, run_demo, search, terminal_table, write_plane, write_report,
    write_results,
};

use crate::args::DemoArgs;
use crate::progress::Bars;

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
    // A GPU is kept busy by one run; on a CPU each thread takes one.
    let workers = match device {
        "flex" => available_parallelism().map_or(1, |threads| threads.get()),
        _ => 1,
    };
    let device = parse_device(device)?;
    let cache = args.cache.clone().unwrap_or_else(default_cache);
    let mut observer = Bars::default();
    if args.search {
        let rows = search(&config, &args.grid, &cache, &device, workers, &mut observer)?;
        print!("{}", search_table(&rows));
        return Ok(());
    }
    let command: Vec<_> = std::env::args().skip(1).collect();
    let command = format!("lora-moe {}", command.join(" "));
    let report = run_demo(&config, &cache, &device, workers, &command, &mut observer)?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("cannot make {}", args.output.display()))?;
    let write = |name: &str| args.output.join(name);
    write_results(&write("results.json"), &report.rows).context("results.json")?;
    write_report(&write("report.html"), &report).context("report.html")?;
    write_plane(&write("plane.svg"), &report).context("plane.svg")?;
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
