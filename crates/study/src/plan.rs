use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::claims::Claims;
use super::run::{run_name, search_name};
use super::store::{claim_name, holds};
use super::{GroundConfig, StudyConfig, StudyError};

/// What of a study is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedRun {
    /// `search` or `runs`: the folder of its file.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// How far it is.
    pub state: RunState,
}

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// It is kept.
    Done,
    /// A process works on it.
    Claimed(String),
    /// Nobody does.
    Open,
}

/// Lists the runs of a study and how far they are in its folder, which need not be there: those of
/// the search of learning rates first. The rate of a run is what the search finds. A study of all of
/// its data names the amount when that has been read, until then `all`.
///
/// # Errors
///
/// [`StudyError`] when the configuration cannot work or the folder cannot be read.
pub fn plan_study(
    config: &StudyConfig,
    folder: &Path,
    lease: Duration,
) -> Result<Vec<PlannedRun>, StudyError> {
    config.check()?;
    let claims = match folder.join("claims").is_dir() {
        true => Some(Claims::new(folder, lease)?),
        false => None,
    };
    let state = |kind: &str, name: &str| {
        if holds(folder, kind, name) {
            return RunState::Done;
        }
        let holder = claims.as_ref().and_then(|claims| claims.holder(&claim_name(kind, name)));
        holder.map_or(RunState::Open, RunState::Claimed)
    };
    let mut planned = Vec::new();
    let mut plan = |kind: &'static str, name: String| {
        let state = state(kind, &name);
        planned.push(PlannedRun { kind, name, state });
    };
    for method in &config.methods {
        for rate in config.grid(method) {
            plan("search", search_name(&method.name, *rate));
        }
    }
    let all = matches!(config.ground, GroundConfig::Data(_)) && config.samples.is_empty();
    let amounts: Vec<String> = match all {
        true => vec!["all".to_owned()],
        false => config.samples.iter().map(usize::to_string).collect(),
    };
    for amount in &amounts {
        for method in &config.methods {
            for seed in &config.seeds {
                plan("runs", run_name(&method.name, *seed, amount));
            }
        }
    }
    Ok(planned)
}
