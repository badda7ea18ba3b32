//! The report of a study: one page for readers, and every number and figure as a file of its own.

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
