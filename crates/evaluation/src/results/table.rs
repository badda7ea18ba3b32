use super::EvaluationResults;

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableStyle {
    /// Columns set apart by spaces, for a terminal.
    Text,
    /// A Markdown table.
    Markdown,
}

const HEADER: [&str; 7] = ["task", "filter", "n-shot", "samples", "metric", "value", "stderr"];

/// The aggregates as a table: a row for each task or group, filter and metric, tasks of a group
/// below it.
pub fn results_table(results: &EvaluationResults, style: TableStyle) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    let inside: Vec<_> = results.group_subtasks.values().flatten().collect();
    let outermost = results.results.keys().filter(|task| !inside.contains(task));
    outermost.for_each(|task| add(results, task, 0, &mut rows));
    match style {
        TableStyle::Text => text(&rows),
        TableStyle::Markdown => markdown(&rows),
    }
}

fn add(results: &EvaluationResults, task: &str, depth: usize, rows: &mut Vec<[String; 7]>) {
    let alias = results.results.get(task).and_then(|row| row.get("alias")?.as_str());
    let mut name = format!("{}{}", "- ".repeat(depth), alias.unwrap_or(task).trim_start());
    for (metric, filter) in results.metrics(task) {
        let Some((value, error)) = results.value(task, metric, filter) else { continue };
        rows.push([
            std::mem::take(&mut name),
            filter.to_owned(),
            results.num_fewshot.get(task).map_or_else(String::new, usize::to_string),
            results.num_samples.get(task).map_or_else(String::new, |n| n.effective.to_string()),
            metric.to_owned(),
            format!("{value:.4}"),
            error.map_or_else(|| "–".to_owned(), |error| format!("{error:.4}")),
        ]);
    }
    for task in results.group_subtasks.get(task).into_iter().flatten() {
        add(results, task, depth + 1, rows);
    }
}

/// Whether a column holds numbers, which stand to the right.
fn is_number(column: usize) -> bool {
    matches!(column, 2 | 3 | 5 | 6)
}

fn text(rows: &[[String; 7]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..7).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if is_number(column) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn markdown(rows: &[[String; 7]]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = (0..7).map(|column| if is_number(column) { "---:" } else { "---" });
    let rule: Vec<String> = rule.map(str::to_owned).collect();
    let mut out = String::new();
    for (index, row) in rows.iter().enumerate() {
        out.push_str(&line(&row.clone().map(|cell| cell.replace('|', "\\|"))));
        if index == 0 {
            out.push_str(&line(&rule));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tasks_stand_below_their_group_with_values_and_errors() {
        let results: EvaluationResults = serde_json::from_value(json!({
            "results": {
                "a_part": {"alias": "part", "acc,none": 0.5, "acc_stderr,none": 0.1},
                "whole": {"alias": "whole", "acc,none": 0.25, "acc_stderr,none": "N/A"},
            },
            "group_subtasks": {"whole": ["a_part"]},
            "n-shot": {"a_part": 2},
            "n-samples": {"a_part": {"original": 9, "effective": 4}},
        }))
        .unwrap();
        let expected = "\
            task    filter  n-shot  samples  metric   value  stderr\n\
            whole   none                     acc     0.2500       –\n\
            - part  none         2        4  acc     0.5000  0.1000\n";
        assert_eq!(results_table(&results, TableStyle::Text), expected);
        let markdown = results_table(&results, TableStyle::Markdown);
        assert_eq!(
            markdown.lines().nth(3),
            Some("| - part | none | 2 | 4 | acc | 0.5000 | 0.1000 |")
        );
    }
}
