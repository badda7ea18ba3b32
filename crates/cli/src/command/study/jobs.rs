//! What SLURM says of jobs.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

/// A job of SLURM, or those of an array that wait together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterJob {
    /// As in `17_2`, of tasks that wait together `17_[3-8]`.
    pub id: String,
    /// As in `RUNNING`.
    pub state: String,
    /// Where it runs or ran; empty where nowhere yet.
    pub nodes: String,
    /// Why it waits or ended; empty where there is no reason.
    pub reason: String,
}

impl ClusterJob {
    /// The number of the array that it is of.
    pub fn array(&self) -> &str {
        self.id.split('_').next().unwrap_or_default()
    }

    /// Whether it will do nothing any more; `squeue` lists such jobs for some minutes.
    pub fn has_ended(&self) -> bool {
        ENDED.contains(&self.state.as_str())
    }
}

/// The states of jobs that have ended.
const ENDED: [&str; 9] = [
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
];

/// The format of `squeue` where it writes no JSON; see [`from_lines`].
pub const FORMAT: &str = "--format=%i|%T|%N|%r";

/// Reads what `squeue --json` writes, of versions before 23 and since.
pub fn from_squeue(text: &str) -> Result<Vec<ClusterJob>> {
    let jobs = jobs(text).context("squeue --json")?;
    let job = |job: &Value| ClusterJob {
        id: id(
            number(&job["job_id"]),
            number(&job["array_job_id"]),
            number(&job["array_task_id"]),
            &word(&job["array_task_string"]),
        ),
        state: word(&job["job_state"]),
        nodes: word(&job["nodes"]),
        reason: reason(&job["state_reason"]),
    };
    Ok(jobs.iter().map(job).collect())
}

/// Reads what `sacct --json` writes, of versions before 23 and since.
pub fn from_sacct(text: &str) -> Result<Vec<ClusterJob>> {
    let jobs = jobs(text).context("sacct --json")?;
    let job = |job: &Value| {
        let array = &job["array"];
        let code = number(&job["exit_code"]["return_code"]).unwrap_or(0);
        let reason = match reason(&job["state"]["reason"]) {
            reason if reason.is_empty() && code > 0 => format!("exit code {code}"),
            reason => reason,
        };
        ClusterJob {
            id: id(
                number(&job["job_id"]),
                number(&array["job_id"]),
                number(&array["task_id"]),
                &word(&array["task"]),
            ),
            state: word(&job["state"]["current"]),
            nodes: match word(&job["nodes"]) {
                nodes if nodes == "None assigned" => String::new(),
                nodes => nodes,
            },
            reason,
        }
    };
    Ok(jobs.iter().map(job).collect())
}

/// Reads lines of [`FORMAT`].
pub fn from_lines(text: &str) -> Vec<ClusterJob> {
    let job = |line: &str| {
        let mut parts = line.trim().splitn(4, '|').map(str::to_owned);
        let mut part = || parts.next().unwrap_or_default();
        let (id, state, nodes, reason) = (part(), part(), part(), part());
        let reason = if reason == "None" { String::new() } else { reason };
        ClusterJob { id, state, nodes, reason }
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(job).collect()
}

fn jobs(text: &str) -> Result<Vec<Value>> {
    let mut value: Value = serde_json::from_str(text).context("what it writes is no JSON")?;
    match value["jobs"].take() {
        Value::Array(jobs) => Ok(jobs),
        _ => anyhow::bail!("what it writes has no `jobs`"),
    }
}

fn id(job: Option<u64>, array: Option<u64>, task: Option<u64>, tasks: &str) -> String {
    match (array.filter(|array| *array > 0), task) {
        // Those that wait together have no number of their own.
        (Some(array), None) if !tasks.is_empty() => format!("{array}_[{tasks}]"),
        (Some(array), Some(task)) => format!("{array}_{task}"),
        _ => job.unwrap_or_default().to_string(),
    }
}

/// A number, which newer versions put beside whether there is one.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Object(number) if number.get("set") == Some(&Value::Bool(false)) => None,
        Value::Object(number) => number.get("number")?.as_u64(),
        other => other.as_u64(),
    }
}

/// A word, of which newer versions have a list.
fn word(value: &Value) -> String {
    match value {
        Value::Array(words) => words.first().map(word).unwrap_or_default(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

fn reason(value: &Value) -> String {
    let reason = word(value);
    if reason == "None" { String::new() } else { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(jobs: &[ClusterJob]) -> Vec<String> {
        let show = |job: &ClusterJob| {
            format!("{} {} {} {}", job.id, job.state, job.nodes, job.reason).trim().to_owned()
        };
        jobs.iter().map(show).collect()
    }

    #[test]
    fn what_slurm_22_wrote_of_an_array_is_read() {
        // An array of five on one node: the first ended well, the second with exit code 3.
        let jobs = from_squeue(include_str!("recorded/squeue-22.05.json")).unwrap();
        assert_eq!(
            shown(&jobs),
            [
                "1_1 COMPLETED node1",
                "1_2 FAILED node1 NonZeroExitCode",
                "1_3 RUNNING node1",
                "1_[4-5] PENDING  Resources"
            ]
        );
        assert_eq!(jobs.iter().filter(|job| job.has_ended()).count(), 2);
        assert!(jobs.iter().all(|job| job.array() == "1"));
        let jobs = from_sacct(include_str!("recorded/sacct-22.05.json")).unwrap();
        let ended: Vec<_> = jobs.into_iter().filter(ClusterJob::has_ended).collect();
        assert_eq!(shown(&ended), ["1_1 COMPLETED node1", "1_2 FAILED node1"]);
        let jobs = from_lines("1_4|PENDING||Resources\n1_3|RUNNING|node1|None\n");
        assert_eq!(shown(&jobs), ["1_4 PENDING  Resources", "1_3 RUNNING node1"]);
    }

    #[test]
    fn numbers_and_states_of_newer_versions_are_read() {
        let squeue = r#"{ "jobs": [
            { "job_id": 18, "array_job_id": { "set": true, "infinite": false, "number": 17 },
              "array_task_id": { "set": true, "infinite": false, "number": 2 },
              "array_task_string": "", "job_state": ["RUNNING"], "nodes": "n1",
              "state_reason": "None" },
            { "job_id": 17, "array_job_id": { "set": true, "infinite": false, "number": 17 },
              "array_task_id": { "set": false, "infinite": false, "number": 0 },
              "array_task_string": "3-8", "job_state": ["PENDING"], "nodes": "",
              "state_reason": "Priority" },
            { "job_id": 5, "array_job_id": { "set": true, "infinite": false, "number": 0 },
              "array_task_id": { "set": false, "infinite": false, "number": 0 },
              "array_task_string": "", "job_state": ["COMPLETING"], "nodes": "n2",
              "state_reason": "None" } ] }"#;
        let expected = ["17_2 RUNNING n1", "17_[3-8] PENDING  Priority", "5 COMPLETING n2"];
        assert_eq!(shown(&from_squeue(squeue).unwrap()), expected);
        let sacct = r#"{ "jobs": [
            { "job_id": 19, "array": { "job_id": 17, "task": "",
              "task_id": { "set": true, "infinite": false, "number": 1 } },
              "state": { "current": ["FAILED"], "reason": "None" }, "nodes": "n1",
              "exit_code": { "status": ["ERROR"],
                             "return_code": { "set": true, "infinite": false, "number": 3 } } } ] }"#;
        assert_eq!(shown(&from_sacct(sacct).unwrap()), ["17_1 FAILED n1 exit code 3"]);
    }

    #[test]
    fn what_is_no_list_of_jobs_is_named() {
        for text in ["", "{}", "squeue: error"] {
            let error = format!("{:#}", from_squeue(text).unwrap_err());
            assert!(error.starts_with("squeue --json: what it writes"), "{error}");
        }
    }
}
