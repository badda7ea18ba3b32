use report::format::{count, decimal, share};

use crate::demo::DemoReport;

/// Names of the columns.
pub(super) const COLUMNS: [&str; 8] =
    ["method", "data", "parameters", "knowledge", "statements", "tasks", "text loss", "seconds"];

/// Widest name of a method in the terminal.
const NAME: usize = 24;

/// The cells of the table, in the order of [`DemoReport::sorted`].
pub(super) fn cells(report: &DemoReport) -> Vec<[String; COLUMNS.len()]> {
    let cells = report.sorted().into_iter().map(|(row, statement)| {
        [
            row.method.clone(),
            count(row.samples),
            count(row.trainable_parameters),
            share(row.knowledge),
            share(statement.unwrap_or(f64::NAN)),
            share(row.tasks),
            decimal(row.text_loss, 3),
            decimal(row.seconds, 1),
        ]
    });
    cells.collect()
}

/// The results as an aligned table of at most 100 columns.
pub fn terminal_table(report: &DemoReport) -> String {
    let mut lines = vec![COLUMNS.map(str::to_owned)];
    lines.extend(cells(report));
    for line in &mut lines {
        if line[0].chars().count() > NAME {
            line[0] = line[0].chars().take(NAME - 1).chain(['\u{2026}']).collect();
        }
    }
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);

    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        let mut text = format!("{:<1$}", line[0], widths[0]);
        for (cell, width) in line.iter().zip(widths).skip(1) {
            text.push_str(&format!("  {cell:>width$}"));
        }
        out.push_str(&text);
        out.push('\n');
        if i == 0 {
            out.push_str(&"\u{2500}".repeat(text.chars().count()));
            out.push('\n');
        }
    }
    out
}
