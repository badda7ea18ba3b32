use anyhow::Result;
use lora_moe::study::{PlannedRun, RunState, plan_study};

use super::{config, lease};
use crate::args::StudyPlanArgs;

/// Runs `lora-moe study plan`.
#[allow(clippy::print_stdout)]
pub fn plan(args: &StudyPlanArgs) -> Result<()> {
    let planned = planned(args)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&planned)?);
        return Ok(());
    }
    for PlannedRun { kind, name, state } in &planned {
        let state = match state {
            RunState::Done => "done".to_owned(),
            RunState::Claimed(by) => format!("claimed by {by}"),
            RunState::Open => "open".to_owned(),
        };
        println!("{kind}/{name}: {state}");
    }
    eprintln!("{}", counts(&planned));
    Ok(())
}

pub(super) fn planned(args: &StudyPlanArgs) -> Result<Vec<PlannedRun>> {
    Ok(plan_study(&config(&args.files)?, &args.files.output, lease(args.lease))?)
}

/// How many are how far.
pub(super) fn counts(planned: &[PlannedRun]) -> String {
    let count = |of: fn(&RunState) -> bool| planned.iter().filter(|run| of(&run.state)).count();
    format!(
        "{} runs: {} done, {} claimed, {} open",
        planned.len(),
        count(|state| *state == RunState::Done),
        count(|state| matches!(state, RunState::Claimed(_))),
        count(|state| *state == RunState::Open)
    )
}
