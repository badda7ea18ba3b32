//! The report of a study: one page for readers, and every number and figure as a file of its own.
//!
//! | file | holds |
//! |---|---|
//! | `report.html` | the page; it needs nothing else |
//! | `results.json` | the results as measured, run by run |
//! | `summary.json` | the statistics over seeds |
//! | `summary.csv` | the same, a row for each method, amount of data and metric |
//! | `equal_learning.csv` | the knowledge kept at equal tasks learned |
//! | `runs.csv` | a row for each run |
//! | `methods.csv` | description, size, learning rate and cost of each method |
//! | `search.csv` | a row for each learning rate tried |
//! | `routing.csv` | the share of each expert, by run, router and kind of text |
//! | `curves.csv` | training loss by run and step |
//! | `figures/*.svg` | the figures |

mod csv;
mod data;
mod figures;
mod files;
mod headline;
mod html;
mod tables;
mod view;

#[cfg(test)]
mod browser;
#[cfg(test)]
mod tests;

pub use files::{StudyReportError, read_study_results, write_study_report};
pub use headline::study_headline;
pub use html::study_html;
