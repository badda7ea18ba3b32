use super::{Figure, method_look};
use crate::report::{
    DemoReport, ResultRow, compare,
    format::{count, share},
    svg::{Axis, Chart},
};

/// Knowledge kept over tasks learned.
pub(in crate::report) fn plane(report: &DemoReport) -> Figure {
    let lowest = report.rows.iter().map(|row| row.knowledge).fold(1.0, f64::min);
    let mut chart = Chart::new(
        Axis::between("tasks learned", 0.0, 1.0),
        Axis::between("knowledge kept", (lowest - 0.05).max(0.0), 1.0),
    );
    let comparison = compare(report);
    if let Some(comparison) = &comparison {
        chart.upright(comparison.level);
    }
    let base = report.base();
    for method in report.methods() {
        let rows = report.curve(method);
        let look = method_look(report, method);
        let at = |row: &ResultRow| (row.tasks, row.knowledge);
        if let (Some(base), Some(first)) = (base, rows.first()) {
            let start = [at(base), at(first)];
            chart.curve(&start, look.0, r#"stroke-width="1.4" stroke-dasharray="2 4""#);
        }
        let values: Vec<_> = rows.iter().map(|row| at(row)).collect();
        chart.curve(&values, look.0, r#"stroke-width="2""#);
        for row in rows {
            chart.point(at(row), look, &tip(row), &count(row.samples));
        }
        chart.legend(method, (look.0, Some(look.1)));
    }
    if let Some(base) = base {
        chart.ring((base.tasks, base.knowledge), &tip(base), "untuned");
    }
    let mut caption = "Knowledge kept against tasks learned; up and to the right is better. Points are labelled by \
                       the number of tuning samples."
        .to_owned();
    if let Some(comparison) = comparison {
        caption.push_str(&format!(
            " The dashed line is the level at which the methods are compared, {}; the curves are straight between \
             measurements.",
            share(comparison.level)
        ));
    }
    Figure { title: "Learning against forgetting".to_owned(), caption, canvas: chart.finish() }
}

fn tip(row: &ResultRow) -> String {
    format!(
        "{}, {} samples: tasks {}, knowledge {}",
        row.method,
        count(row.samples),
        share(row.tasks),
        share(row.knowledge)
    )
}
