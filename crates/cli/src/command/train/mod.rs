mod causal;
mod devices;
mod labelled;
mod observer;
mod overwrite;
mod preparing;
mod several;

use std::path::Path;

use anyhow::{Result, bail};
use indicatif::ProgressBar;
use lora_moe::device::parse_device;
use lora_moe::finetune::run::AnyRunConfig;
use lora_moe::finetune::train::{Resume, TrainSummary};
use lora_moe::fused_ops::Precision;
use lora_moe::ranks::{Ranks, agree};

use self::observer::validated;
use crate::args::TrainArgs;
use crate::interrupt::Interrupt;
use crate::launch::Launch;
use crate::progress::bar;

/// What becomes of the run that the folder may hold.
struct Begin {
    resume: Resume,
    overwrite: bool,
}

impl Begin {
    /// Makes room for a run that was prepared.
    fn clear(&self, folder: &Path) -> Result<()> {
        if self.overwrite { overwrite::remove_run(folder) } else { Ok(()) }
    }
}

/// Runs `lora-moe train`.
pub fn run(
    args: &TrainArgs,
    precision: Option<Precision>,
    device: &str,
    interrupt: &Interrupt,
    launch: &Launch,
) -> Result<()> {
    let mut args = args.clone();
    // So that the run's own files say it.
    args.set.extend(precision.map(|precision| format!("training.precision={precision}")));
    let args = &args;
    if args.dry_run {
        return super::dry_run::run(args, device);
    }
    match &args.devices[..] {
        [] | [_] => rank(args, &launch.device(device), interrupt, launch.ranks()),
        _ if launch.ranks().size() > 1 => {
            bail!("--devices makes the ranks itself; leave mpirun or srun out, or --devices")
        }
        devices => devices::run(args, devices, interrupt),
    }
}

/// Trains as one of several ranks, or alone.
fn rank(args: &TrainArgs, device: &str, interrupt: &Interrupt, ranks: &dyn Ranks) -> Result<()> {
    let device = parse_device(device)?;
    let resume = match &args.resume {
        None => Resume::No,
        Some(None) => Resume::LastHealthy,
        Some(Some(checkpoint)) => Resume::From(checkpoint.clone()),
    };
    let begin = Begin { resume, overwrite: args.overwrite };
    let path = match &args.config[..] {
        [path] => path,
        _ if ranks.size() > 1 => bail!("a run of several ranks has one --config"),
        paths => {
            return several::run(paths, &args.set, &device, &begin, interrupt);
        }
    };
    let config = AnyRunConfig::from_file(path, &args.set)?;
    if ranks.size() > 1 {
        let properties = [
            ("the version of lora-moe", env!("CARGO_PKG_VERSION").to_owned()),
            ("the configuration", format!("{config:?}")),
            ("`--resume`", format!("{:?}", args.resume)),
        ];
        agree(ranks, &properties)?;
        if args.overwrite {
            bail!("--overwrite is for a run of one rank; remove the folder, or choose another");
        }
    }
    match &config {
        AnyRunConfig::Causal(config) => causal::run(config, &device, &begin, interrupt, ranks),
        AnyRunConfig::Labelled(config) => labelled::run(config, &device, &begin, interrupt, ranks),
    }
}

/// Shows decompositions, where they take long.
fn decomposing(ranks: &dyn Ranks) -> ProgressBar {
    match ranks.is_first() {
        true => bar(0, "decomposing weights"),
        false => ProgressBar::hidden(),
    }
}

/// What is trained with how many others.
fn over(ranks: &dyn Ranks) -> String {
    match ranks.size() {
        1 => String::new(),
        size => format!(", over {size} ranks"),
    }
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
            "{:.1} of {:.1} s waiting for sums over {} ranks",
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
