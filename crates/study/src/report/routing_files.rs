use std::io;
use std::path::Path;

use evaluation::routing::{RoutingReport, routing_csv};

use super::{routing_html, write_text};

/// Writes `routing.json`, `routing.csv` and `routing.html` into a folder, which is created where
/// it is absent.
///
/// # Errors
///
/// When a file cannot be written; earlier ones of the same name are then left as they were.
pub fn write_routing(folder: &Path, report: &RoutingReport) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let json = serde_json::to_string_pretty(report)? + "\n";
    write_text(&folder.join("routing.json"), &json)?;
    write_text(&folder.join("routing.csv"), &routing_csv(report))?;
    write_text(&folder.join("routing.html"), &routing_html(report))
}
