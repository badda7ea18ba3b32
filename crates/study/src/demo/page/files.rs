use std::path::Path;
use std::{fs, io};

use moe_adapter::write_atomically;

use super::{html::report_html, plane::plane};
use crate::ResultRow;
use crate::demo::DemoReport;

/// Writes `results.json`: the list of rows and nothing else.
///
/// # Errors
/// When the file cannot be written; an earlier one is then left as it was.
pub fn write_results(path: &Path, rows: &[ResultRow]) -> io::Result<()> {
    let json = serde_json::to_string_pretty(rows)? + "\n";
    write_atomically(path, json.as_bytes())
}

/// Reads what [`write_results`] wrote.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn read_results(path: &Path) -> io::Result<Vec<ResultRow>> {
    Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
}

/// Writes the page of the report.
///
/// # Errors
/// When the file cannot be written; an earlier one is then left as it was.
pub fn write_report(path: &Path, report: &DemoReport) -> io::Result<()> {
    write_atomically(path, report_html(report).map_err(io::Error::other)?.as_bytes())
}

/// Writes the plane of learning and forgetting as an SVG file.
///
/// # Errors
/// When the file cannot be written; an earlier one is then left as it was.
pub fn write_plane(path: &Path, report: &DemoReport) -> io::Result<()> {
    write_atomically(path, plane(report).file().map_err(io::Error::other)?.as_bytes())
}
