//! The `lora-moe` command.

mod allocator;
mod args;
mod command;
mod interrupt;
mod launch;
mod pool;
mod progress;
mod text;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use lora_moe::finetune::train::TrainError;
use lora_moe::fused_ops::set_precision;

use args::{Cli, Command};
use interrupt::Interrupt;
use launch::Launch;

/// A panic is a mistake of this program: one line says so. `RUST_BACKTRACE=1` shows where. But for what is
/// printed when nobody reads on, as after `| head`: that ends the command.
fn report_panics() {
    let at_length = std::env::var_os("RUST_BACKTRACE").map(|_| std::panic::take_hook());
    std::panic::set_hook(Box::new(move |info| {
        let said = info.payload_as_str().unwrap_or("no message");
        if said.starts_with("failed printing to stdout") && said.contains("Broken pipe") {
            std::process::exit(0);
        }
        if let Some(report) = &at_length {
            return report(info);
        }
        let place = info.location().map_or_else(String::new, |at| format!(" at {at}"));
        eprintln!(
            "internal error{place}: {}; if it ends the command, please report it with the \
             command and RUST_BACKTRACE=1",
            said.replace('\n', " ")
        );
    }));
}

/// How to go on after a signal, of commands that a signal may end at any moment.
fn goes_on(command: &Command) -> Option<&'static str> {
    match command {
        Command::Study(_) => Some("run the same command again; what is done is not done again"),
        Command::Demo(_)
        | Command::Merge(_)
        | Command::Unmerge(_)
        | Command::Extract(_)
        | Command::Mix(_)
        | Command::Convert(_) => Some("there is no output yet; run the same command again"),
        _ => None,
    }
}

fn main() -> ExitCode {
    allocator::tune();
    report_panics();
    let cli = Cli::parse();
    let device = match &cli.command {
        Command::Train(args) => args.devices.first().unwrap_or(&cli.device).as_str(),
        _ => cli.device.as_str(),
    };
    if let Some(precision) = cli.precision {
        set_precision(precision);
    }
    let interrupt = Interrupt::default();
    if let Some(Err(error)) = goes_on(&cli.command).map(|how| interrupt.end_with(how)) {
        eprintln!("error: cannot listen to signals: {error}");
        return ExitCode::FAILURE;
    }
    if let Err(error) = pool::start() {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let mut launch = Launch::Alone;
    let result = match &cli.command {
        Command::Train(args) => {
            Launch::join(Duration::from_secs(args.rank_timeout)).and_then(|joined| {
                launch = joined;
                match launch {
                    Launch::Alone if args.config.len() == 1 && args.devices.len() < 2 => {
                        pool::inside(|| {
                            command::train::run(
                                args,
                                cli.precision,
                                device,
                                &interrupt,
                                &Launch::Alone,
                            )
                        })
                    }
                    _ => command::train::run(args, cli.precision, device, &interrupt, &launch),
                }
            })
        }
        Command::Data(args) => command::data::run(args),
        Command::Eval(args) => pool::inside(|| command::eval::run(args, device, &interrupt)),
        Command::Predict(args) => pool::inside(|| command::predict::run(args, device)),
        Command::Generate(args) => pool::inside(|| command::generate::run(args, device)),
        #[cfg(feature = "serve")]
        Command::Serve(args) => command::serve::run(args, device, &interrupt),
        Command::Logits(args) => pool::inside(|| command::logits::run(args, device)),
        Command::Inspect(args) => pool::inside(|| command::inspect::run(args, device)),
        Command::Merge(args) => command::merge::run(args, device),
        Command::Unmerge(args) => command::unmerge::run(args, device),
        Command::Extract(args) => command::extract::run(args),
        Command::Mix(args) => command::mix::run(args, device),
        Command::Convert(args) => command::convert::run(args, device),
        Command::Config(args) => command::config::run(args),
        Command::Demo(args) => command::demo::run(args, device),
        Command::Study(args) => command::study::run(args, device),
        Command::Bench(args) => pool::inside(|| command::bench::run(args, device)),
        Command::Completions(args) => command::completions::run(args),
        Command::Man(args) => command::man::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let who = match launch.ranks().rank() {
                0 => String::new(),
                rank => format!("rank {rank}: "),
            };
            eprintln!("{who}error: {error}");
            let mut said = error.to_string();
            for cause in error.chain().skip(1).map(ToString::to_string) {
                // Many errors of libraries say what caused them themselves.
                if !said.contains(&cause) {
                    let lines: Vec<_> = cause.lines().map(str::trim).collect();
                    eprintln!("  because: {}", lines.join(" "));
                    said = cause;
                }
            }
            let ended = error
                .chain()
                .any(|cause| matches!(cause.downcast_ref(), Some(TrainError::Interrupted { .. })));
            let code = match (interrupt.asked(), ended) {
                (true, _) => interrupt.status(),
                (false, true) => interrupt::OF_ANOTHER_RANK,
                (false, false) => 1,
            };
            launch.fail(code);
            ExitCode::from(code)
        }
    }
}
