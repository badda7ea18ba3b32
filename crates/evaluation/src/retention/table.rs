use super::{Retention, RetentionRow};

const HEADER: &str = "\
| task | metric | samples | before | after | difference | stderr | share kept | still right | p |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
";

/// A comparison as a Markdown table: groups first in bold, what is absent as a dash.
pub fn retention_table(retention: &Retention) -> String {
    let mut table = HEADER.to_owned();
    let (groups, tasks): (Vec<_>, Vec<_>) = retention.rows.iter().partition(|row| row.group);
    groups.into_iter().chain(tasks).for_each(|row| table.push_str(&line(row)));
    table
}

fn line(row: &RetentionRow) -> String {
    let task = if row.group { format!("**{}**", row.task) } else { row.task.clone() };
    let metric = match row.filter.as_str() {
        "none" => row.metric.clone(),
        filter => format!("{}, {filter}", row.metric),
    };
    let optional = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
    };
    format!(
        "| {task} | {metric} | {} | {:.4} | {:.4} | {:+.4} | {} | {} | {} | {} |\n",
        row.samples,
        row.before,
        row.after,
        row.difference,
        optional(row.stderr, 4),
        optional(row.share_kept, 3),
        optional(row.still_right, 3),
        optional(row.test.map(|test| test.p_value()), 4),
    )
}
