use report::{
    Cell, Figure, Interval, IntervalRow, Intervals, Look, Page, PageError, Section, Table,
};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{Retention, RetentionRow};

/// Below it a difference is said to be one.
const LEVEL: f64 = 0.05;

/// Comparisons of one evaluation with later ones, as a page.
///
/// # Errors
/// When the page cannot be made.
pub fn retention_page(compared: &[Retention]) -> Result<String, PageError> {
    let sections = compared.iter().enumerate().map(|(at, retention)| section(at, retention));
    let page = Page {
        title: "What was kept".to_owned(),
        findings: compared.iter().map(finding).collect(),
        sections: sections.collect(),
    };
    page.html()
}

/// In how many rows something was lost or gained beyond chance.
fn finding(retention: &Retention) -> String {
    let clear = |better: bool| {
        let tasks = retention.rows.iter().filter(|row| !row.group);
        tasks.filter(|row| is_clear(row) && (gain(row) > 0.0) == better).count()
    };
    let tasks = retention.rows.iter().filter(|row| !row.group).count();
    format!(
        "{}: of {tasks} measures {} are worse and {} are better than before at p < {LEVEL}; the \
         others are not distinguishable.",
        retention.after,
        clear(false),
        clear(true),
    )
}

/// The difference, positive where it is for the better.
fn gain(row: &RetentionRow) -> f64 {
    if row.higher_is_better { row.difference } else { -row.difference }
}

fn is_clear(row: &RetentionRow) -> bool {
    row.test.is_some_and(|test| test.p_value() < LEVEL)
}

fn section(at: usize, retention: &Retention) -> Section {
    let (losses, scores): (Vec<_>, Vec<_>) =
        retention.rows.iter().partition(|row| row.metric.starts_with("loss"));
    let mut figures = Vec::new();
    let caption = "After less before on the same documents, with 95 % intervals of the paired \
                   difference; hollow marks are not distinguishable from no difference.";
    if !scores.is_empty() {
        let chart = differences(&scores, "difference in score", (-1.0, 1.0));
        figures.push(Figure::new("Differences in scores", caption, chart));
    }
    if !losses.is_empty() {
        let chart = differences(&losses, "difference in loss", (-10.0, 10.0));
        figures.push(Figure::new("Differences in loss, in nats; less is better", caption, chart));
    }
    Section {
        text: vec![format!("Before: {}. After: {}.", retention.before, retention.after)],
        table: Some(table(at, retention)),
        note: "Share kept is after over before. Still right: of the documents that were answered \
               right before, the share that still is. p: McNemar's exact test where each document \
               is right or wrong, Student's t of the paired differences elsewhere."
            .to_owned(),
        figures,
        ..Section::new(&format!("comparison-{at}"), &retention.after)
    }
}

fn name(row: &RetentionRow) -> String {
    match row.filter.as_str() {
        "none" => format!("{} {}", row.task, row.metric),
        filter => format!("{} {}, {filter}", row.task, row.metric),
    }
}

fn differences(rows: &[&RetentionRow], panel: &str, limits: (f64, f64)) -> report::Drawing {
    let rows = rows.iter().enumerate().map(|(at, row)| IntervalRow {
        name: name(row),
        look: Look::of(if row.group { 0 } else { 1 + at % 6 }),
        values: vec![Some(Interval {
            mean: row.difference,
            half: half_interval(row),
            clear: is_clear(row),
            tip: format!("{:+.4} ({:.4} to {:.4})", row.difference, row.before, row.after),
        })],
    });
    Intervals { panels: vec![panel.to_owned()], rows: rows.collect(), limits }.draw()
}

/// Half of the 95 % interval of the difference: Student's quantile times the standard error.
fn half_interval(row: &RetentionRow) -> Option<f64> {
    let freedom = row.samples.checked_sub(1).filter(|freedom| *freedom > 0)?;
    let students = StudentsT::new(0.0, 1.0, freedom as f64).ok()?;
    Some(students.inverse_cdf(1.0 - LEVEL / 2.0) * row.stderr?)
}

fn table(at: usize, retention: &Retention) -> Table {
    let columns = [
        "task",
        "metric",
        "samples",
        "before",
        "after",
        "difference",
        "stderr",
        "share kept",
        "still right",
        "p",
    ];
    let label = format!("Scores before and after, {}", retention.after);
    let table = Table::new(&format!("retention-{at}"), &label, &columns).sortable();
    retention.rows.iter().fold(table, |table, row| table.row(cells(row)))
}

fn cells(row: &RetentionRow) -> Vec<Cell> {
    let metric = match row.filter.as_str() {
        "none" => row.metric.clone(),
        filter => format!("{}, {filter}", row.metric),
    };
    let number = |value: f64| Cell::number(value, format!("{value:.4}"));
    let optional = |value: Option<f64>| value.map_or_else(Cell::missing, number);
    let difference = Cell::number(row.difference, format!("{:+.4}", row.difference));
    vec![
        Cell::text(&row.task),
        Cell::text(metric),
        Cell::number(row.samples as f64, row.samples.to_string()),
        number(row.before),
        number(row.after),
        difference.class(if is_clear(row) { "clear" } else { "unclear" }),
        optional(row.stderr),
        optional(row.share_kept),
        optional(row.still_right),
        optional(row.test.map(|test| test.p_value())),
    ]
}
