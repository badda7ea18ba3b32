use std::{
    fs, io,
    path::{Path, PathBuf},
};

use moe_adapter::write_atomically;
use report::PageError;

use super::{data, figures, html, view::View};
use crate::{StudyResults, StudySummary};

/// Why the report of a study could not be written or its results not be read.
#[derive(Debug, thiserror::Error)]
pub enum StudyReportError {
    /// A file cannot be written or read.
    #[error("cannot access {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds something other than the results of a study.
    #[error("{} does not hold the results of a study: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The page or a figure cannot be made.
    #[error(transparent)]
    Page(#[from] PageError),
}

/// Writes the report into a folder, which is made where it is missing, and returns the path of its
/// page. Each is written whole or not at all, the page last.
///
/// | file | holds |
/// |---|---|
/// | `report.html` | the page; it needs nothing else |
/// | `results.json` | the results as measured, run by run |
/// | `summary.json` | the statistics over seeds |
/// | `summary.csv` | the same, a row for each method, amount of data and metric |
/// | `equal_learning.csv` | the knowledge kept at equal tasks learned |
/// | `runs.csv` | a row for each run |
/// | `methods.csv` | description, size, learning rate and cost of each method |
/// | `search.csv` | a row for each learning rate tried |
/// | `routing.csv` | the share of each expert, by run, router and kind of text |
/// | `scores.csv` | the value of each benchmark task, by run |
/// | `curves.csv` | training loss by run and step |
/// | `figures/*.svg` | the figures |
///
/// # Errors
///
/// [`StudyReportError`] naming the file that cannot be written.
pub fn write_study_report(
    results: &StudyResults,
    folder: &Path,
) -> Result<PathBuf, StudyReportError> {
    let summary = StudySummary::of(results);
    let view = View { results, summary: &summary };
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        match write_atomically(&path, text.as_bytes()) {
            Ok(()) => Ok(path),
            Err(source) => Err(StudyReportError::Io { path, source }),
        }
    };
    let json = |name: &str, text: serde_json::Result<String>| match text {
        Ok(text) => write(name, &format!("{text}\n")),
        Err(source) => Err(StudyReportError::Format { path: folder.join(name), source }),
    };
    json("results.json", serde_json::to_string(results))?;
    json("summary.json", serde_json::to_string_pretty(&summary))?;
    for (name, text) in [
        ("summary.csv", data::summary(&summary)),
        ("equal_learning.csv", data::equal_learning(&summary)),
        ("runs.csv", data::runs(results)),
        ("methods.csv", data::methods(results)),
        ("search.csv", data::search(results)),
        ("routing.csv", data::routing(results)),
        ("scores.csv", data::scores(results)),
        ("curves.csv", data::curves(results)),
    ] {
        write(name, &text)?;
    }
    let figures = figures::all(view);
    for named in figures.all() {
        write(&format!("figures/{}.svg", named.name), &named.figure.file()?)?;
    }
    write("report.html", &html::html(view, &figures)?)
}

/// Reads the `results.json` that [`write_study_report`] wrote.
///
/// # Errors
///
/// [`StudyReportError`] when the file cannot be read or holds something else.
pub fn read_study_results(path: &Path) -> Result<StudyResults, StudyReportError> {
    let text = fs::read_to_string(path)
        .map_err(|source| StudyReportError::Io { path: path.to_path_buf(), source })?;
    serde_json::from_str(&text)
        .map_err(|source| StudyReportError::Format { path: path.to_path_buf(), source })
}
