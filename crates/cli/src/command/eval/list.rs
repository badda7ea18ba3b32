use anyhow::Result;
use lora_moe::eval_tasks::{TaskIndex, TaskListing};

use crate::args::EvalArgs;

/// Prints the tasks that there are.
#[allow(clippy::print_stdout)]
pub fn run(args: &EvalArgs) -> Result<()> {
    let listed = TaskIndex::with_folders(&args.include_path)?.list();
    let rows: Vec<[String; 5]> = listed.iter().map(row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..5).map(|column| width(column).unwrap_or(0)).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    Ok(())
}

/// Name, how the model is asked, licence, data set and source.
fn row(task: &TaskListing) -> [String; 5] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let kind = task.output_type.clone().unwrap_or_else(|| task.kind.to_owned());
    [task.name.clone(), kind, text(&task.licence), text(&task.dataset), text(&task.source)]
}
