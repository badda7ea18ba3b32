use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde_json::Value;

/// One benchmark: its table, row and column, and its median in nanoseconds.
struct Measured {
    group: String,
    row: String,
    column: String,
    median: f64,
    written: SystemTime,
}

/// Prints the results that criterion wrote into `directory` after `since`, as Markdown.
#[allow(clippy::print_stdout)]
pub fn print(directory: &Path, since: SystemTime) -> io::Result<()> {
    let mut results = Vec::new();
    if directory.is_dir() {
        collect(directory, since, &mut results)?;
    }
    results.sort_by_key(|result| result.written);
    for group in distinct(&results, |result| &result.group) {
        let results: Vec<_> = results.iter().filter(|result| result.group == group).collect();
        let columns = distinct(results.iter().copied(), |result| &result.column);
        println!("\n{group}, median in ms\n\n| | {} |", columns.join(" | "));
        println!("|---|{}", "---:|".repeat(columns.len()));
        for row in distinct(results.iter().copied(), |result| &result.row) {
            let cells = columns.iter().map(|column| {
                let found = results.iter().find(|r| r.row == row && r.column == *column);
                found.map_or("–".to_owned(), |result| milliseconds(result.median))
            });
            println!("| {row} | {} |", cells.collect::<Vec<_>>().join(" | "));
        }
    }
    Ok(())
}

/// Every benchmark has a folder `new` with what was measured last.
fn collect(folder: &Path, since: SystemTime, results: &mut Vec<Measured>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        if path.file_name().is_none_or(|name| name != "new") {
            collect(&path, since, results)?;
            continue;
        }
        let file = path.join("estimates.json");
        let Ok(written) = fs::metadata(&file).and_then(|file| file.modified()) else { continue };
        if written < since {
            continue;
        }
        let (id, estimates) = (read(path.join("benchmark.json"))?, read(file)?);
        let part = |key: &str| id[key].as_str().unwrap_or_default().to_owned();
        results.push(Measured {
            group: part("group_id"),
            row: part("function_id"),
            column: part("value_str"),
            median: estimates["median"]["point_estimate"].as_f64().unwrap_or(f64::NAN),
            written,
        });
    }
    Ok(())
}

fn read(path: PathBuf) -> io::Result<Value> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Three significant digits.
fn milliseconds(nanoseconds: f64) -> String {
    let value = nanoseconds / 1e6;
    let digits = 2.0 - value.log10().floor();
    format!("{value:.*}", digits.clamp(0.0, 5.0) as usize)
}

/// The values of a key, each once, in the order of their first occurrence.
fn distinct<'a>(
    results: impl IntoIterator<Item = &'a Measured>,
    key: impl Fn(&'a Measured) -> &'a String,
) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    for value in results.into_iter().map(key) {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    values
}
