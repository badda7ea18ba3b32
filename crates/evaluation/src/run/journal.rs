use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use eval_tasks::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tensor_files::write_atomically;

use super::RunError;

/// The name of the file that keeps answers until an evaluation is complete.
pub const JOURNAL_FILE: &str = "responses.jsonl";

/// Answers as they come in, so that an evaluation that was interrupted loses at most the batch in
/// progress.
///
/// The first line says what is evaluated; each further one is an answer. A line that was cut short
/// counts as absent.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

/// One answer as a line of text, without its end. Numbers are text too, which reads back as the same
/// bits.
pub fn answer_to_line(index: usize, answer: &Response) -> serde_json::Result<String> {
    serde_json::to_string(&Entry { index, answer: StoredAnswer::of(answer) })
}

/// The number of a request and the answer to it that a line holds; `None` where it holds none.
pub fn answer_from_line(line: &str) -> Option<(usize, Response)> {
    let Entry { index, answer } = serde_json::from_str(line).ok()?;
    Some((index, answer.read()?))
}

#[derive(Serialize, Deserialize)]
struct Entry {
    index: usize,
    answer: StoredAnswer,
}

#[derive(Serialize, Deserialize)]
enum StoredAnswer {
    LogLikelihood(String, bool),
    Rolling(String),
    Generated(String),
    Logits(Vec<String>),
}

impl Journal {
    /// Starts anew, over whatever is there.
    pub(super) fn create(folder: &Path, about: &Value) -> Result<Self, RunError> {
        let path = folder.join(JOURNAL_FILE);
        write_atomically(&path, format!("{about}\n").as_bytes()).map_err(RunError::io(&path))?;
        Self::append_to(path)
    }

    /// Continues, and returns the answers to the `requests` requests that are there.
    ///
    /// Starts anew where there is no journal.
    ///
    /// # Errors
    /// [`RunError::Other`] where the journal is of another evaluation.
    pub(super) fn resume(
        folder: &Path,
        about: &Value,
        requests: usize,
    ) -> Result<(Self, Vec<Option<Response>>), RunError> {
        let path = folder.join(JOURNAL_FILE);
        let mut known = vec![None; requests];
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok((Self::create(folder, about)?, known));
            }
            Err(error) => return Err(RunError::io(&path)(error)),
        };
        let (header, entries) = text.split_once('\n').unwrap_or((&text, ""));
        let found: Value = serde_json::from_str(header).unwrap_or_default();
        check_same(&path, &found, about)?;
        // What follows a cut line was never written, and the line itself is not to be added to.
        let mut kept = format!("{header}\n");
        for line in entries.lines() {
            let Some((index, answer)) = answer_from_line(line) else { continue };
            if let Some(place) = known.get_mut(index) {
                *place = Some(answer);
                kept.push_str(line);
                kept.push('\n');
            }
        }
        write_atomically(&path, kept.as_bytes()).map_err(RunError::io(&path))?;
        Ok((Self::append_to(path)?, known))
    }

    fn append_to(path: PathBuf) -> Result<Self, RunError> {
        let file = OpenOptions::new().append(true).open(&path).map_err(RunError::io(&path))?;
        Ok(Self { path, file })
    }

    /// Keeps one answer.
    pub(super) fn append(&mut self, index: usize, answer: &Response) -> Result<(), RunError> {
        let line = answer_to_line(index, answer);
        let line = line.map_err(|error| RunError::io(&self.path)(error.into()))? + "\n";
        // One call, so that a line is rarely cut.
        self.file.write_all(line.as_bytes()).map_err(RunError::io(&self.path))
    }

    /// Removes the journal of an evaluation whose results are written.
    pub(super) fn remove(self) -> Result<(), RunError> {
        std::fs::remove_file(&self.path).map_err(RunError::io(&self.path))
    }
}

/// Refuses what is of another evaluation.
pub(super) fn check_same(path: &Path, found: &Value, wanted: &Value) -> Result<(), RunError> {
    let Some(key) = differing_key(found, wanted) else { return Ok(()) };
    let value = |of: &Value| of.get(&key).cloned().unwrap_or_default().to_string();
    let (found, wanted) = (value(found), value(wanted));
    Err(RunError::Other { path: path.into(), found, wanted, key })
}

/// The first key whose values differ.
fn differing_key(found: &Value, wanted: &Value) -> Option<String> {
    let keys = |value: &Value| value.as_object().map(|map| map.keys().cloned().collect());
    let mut all: Vec<String> = keys(wanted).unwrap_or_default();
    all.extend(keys(found).unwrap_or_default());
    all.into_iter().find(|key| found.get(key) != wanted.get(key))
}

impl StoredAnswer {
    fn of(answer: &Response) -> Self {
        match answer {
            Response::LogLikelihood { log_likelihood, is_greedy } => {
                Self::LogLikelihood(log_likelihood.to_string(), *is_greedy)
            }
            Response::LogLikelihoodRolling { log_likelihood } => {
                Self::Rolling(log_likelihood.to_string())
            }
            Response::Generated(text) => Self::Generated(text.clone()),
            Response::Logits(logits) => Self::Logits(logits.iter().map(f64::to_string).collect()),
        }
    }

    fn read(self) -> Option<Response> {
        let number = |text: &str| text.parse::<f64>().ok();
        Some(match self {
            Self::LogLikelihood(text, is_greedy) => {
                Response::LogLikelihood { log_likelihood: number(&text)?, is_greedy }
            }
            Self::Rolling(text) => {
                Response::LogLikelihoodRolling { log_likelihood: number(&text)? }
            }
            Self::Generated(text) => Response::Generated(text),
            Self::Logits(logits) => {
                Response::Logits(logits.iter().map(|text| number(text)).collect::<Option<_>>()?)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_come_back_bit_by_bit_without_the_line_that_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let about = json!({"tasks": ["a"]});
        let answers = [
            Response::LogLikelihood { log_likelihood: -0.1 - 1e-17, is_greedy: true },
            Response::LogLikelihoodRolling { log_likelihood: -1.0 / 3.0 },
            Response::Generated("a\nb\u{2028}\"".into()),
            Response::Logits(vec![f64::MIN_POSITIVE, -7.25]),
        ];
        let mut journal = Journal::create(folder.path(), &about).unwrap();
        for (index, answer) in answers.iter().enumerate() {
            journal.append(index, answer).unwrap();
        }
        journal.file.write_all(b"{\"index\":4,\"answer\":{\"Gen").unwrap();
        let (mut journal, known) = Journal::resume(folder.path(), &about, 6).unwrap();
        let expected: Vec<_> = answers.iter().cloned().map(Some).chain([None, None]).collect();
        assert_eq!(known, expected);
        journal.append(4, &answers[2]).unwrap();
        let (_, known) = Journal::resume(folder.path(), &about, 6).unwrap();
        assert_eq!(known[4].as_ref(), Some(&answers[2]));
    }

    #[test]
    fn the_journal_of_another_evaluation_is_refused_by_key() {
        let folder = tempfile::tempdir().unwrap();
        Journal::create(folder.path(), &json!({"limit": 3, "tasks": ["a"]})).unwrap();
        let error =
            Journal::resume(folder.path(), &json!({"limit": 4, "tasks": ["a"]}), 1).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`limit`") && text.contains('3') && text.contains('4'), "{text}");
    }
}
