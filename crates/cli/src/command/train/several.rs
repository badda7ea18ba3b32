use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::MultiProgress;
use lora_moe::burn::tensor::Device;
use lora_moe::finetune::run::{AnyRunConfig, Base, PreparedRun, RunConfig, choose_precision};
use lora_moe::finetune::train::{Resume, TrainSummary};
use lora_moe::ranks::Alone;

use super::observer::Bar;
use super::preparing::Preparing;
use super::{Begin, causal, report};
use crate::interrupt::Interrupt;

/// Trains several adapters at once on one copy of the base model's weights, each run with its own
/// data, optimiser and folder. A run that fails ends no other.
pub fn run(
    paths: &[PathBuf],
    set: &[String],
    device: &Device,
    begin: &Begin,
    interrupt: &Interrupt,
) -> Result<()> {
    let resume = &begin.resume;
    let configs = read(paths, set)?;
    if matches!(resume, Resume::From(_)) {
        bail!("--resume names one checkpoint, but there are several runs: give it without one");
    }
    let resumes: Vec<Resume> = configs.iter().map(|config| of_run(resume, config)).collect();
    choose_precision(&configs[0].training);
    let base = Base::load(&configs[0].model, device)?;
    let mut runs = Vec::with_capacity(configs.len());
    for (config, resume) in configs.iter().zip(&resumes) {
        let bars = Preparing::new(&Alone);
        let run = PreparedRun::on(&base, config, resume, &Alone, &|step| bars.show(step));
        bars.finish();
        let run = run.with_context(|| name(config))?;
        eprintln!("{}:", name(config));
        causal::describe(&run, &config.data.train, &Alone);
        runs.push(run);
    }
    drop(base);
    for config in &configs {
        begin.clear(&config.output_dir)?;
    }
    interrupt.listen()?;
    let bars = MultiProgress::new();
    let results: Vec<Result<TrainSummary>> = std::thread::scope(|scope| {
        let threads: Vec<_> = configs
            .iter()
            .zip(&resumes)
            .zip(runs)
            .map(|((config, resume), run)| {
                let threshold = config.training.routing_collapse_threshold;
                let mut bar = Bar::new(threshold, interrupt).among(&bars, name(config));
                scope.spawn(move || {
                    let summary = causal::train(config, run, resume, &Alone, &mut bar);
                    bar.finish();
                    summary
                })
            })
            .collect();
        // A panic of one is that of all, after the others have ended.
        let ended: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        ended.into_iter().map(|end| end.unwrap_or_else(|p| std::panic::resume_unwind(p))).collect()
    });
    let mut failed = Vec::new();
    for (config, result) in configs.iter().zip(results) {
        match result {
            Ok(summary) => {
                eprintln!("{}:", name(config));
                report(&summary, &Alone, &config.output_dir);
            }
            Err(error) if error.to_string().contains(&name(config)) => failed.push(error),
            Err(error) => failed.push(error.context(name(config))),
        }
    }
    let count = failed.len();
    match failed.into_iter().next() {
        None => Ok(()),
        Some(first) if count == 1 => Err(first),
        Some(first) => Err(first.context(format!("{count} of {} runs failed", configs.len()))),
    }
}

/// Reads the configurations, of one model and with a folder each.
fn read(paths: &[PathBuf], set: &[String]) -> Result<Vec<RunConfig>> {
    let mut configs: Vec<RunConfig> = Vec::with_capacity(paths.len());
    let mut folders: BTreeMap<PathBuf, &Path> = BTreeMap::new();
    for path in paths {
        let config = match AnyRunConfig::from_file(path, set)? {
            AnyRunConfig::Causal(config) => config,
            AnyRunConfig::Labelled(_) => bail!(
                "{}: several runs train at once on decoders only; train encoders one by one",
                path.display()
            ),
        };
        if let Some(first) = configs.first()
            && first.model != config.model
        {
            bail!(
                "{}: `[model]` is not that of {}; runs that train at once have one base model",
                path.display(),
                paths[0].display()
            );
        }
        if let Some(first) = configs.first()
            && first.training.precision != config.training.precision
        {
            bail!(
                "{}: `training.precision` is not that of {}; runs that train at once have one",
                path.display(),
                paths[0].display()
            );
        }
        if let Some(other) = folders.insert(config.output_dir.clone(), path) {
            bail!(
                "{}: `training.output_dir` is `{}`, as in {}; each run needs its own",
                path.display(),
                config.output_dir.display(),
                other.display()
            );
        }
        configs.push(*config);
    }
    Ok(configs)
}

/// How one of several runs goes on: one that had not begun when they were interrupted begins.
fn of_run(resume: &Resume, config: &RunConfig) -> Resume {
    match config.output_dir.join("metrics.jsonl").exists() {
        true => resume.clone(),
        false => Resume::No,
    }
}

/// What a run is called: its folder.
fn name(config: &RunConfig) -> String {
    config.output_dir.display().to_string()
}
