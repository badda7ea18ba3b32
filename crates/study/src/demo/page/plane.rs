use report::format::{count, share};
use report::{Axis, Chart, Figure, Look, Named, Point, Rule, Series, Stroke};

use super::compare;
use crate::ResultRow;
use crate::demo::DemoReport;

/// Knowledge kept over tasks learned.
pub(super) fn plane(report: &DemoReport) -> Figure {
    let lowest = report.rows.iter().map(|row| row.knowledge).fold(1.0, f64::min);
    let mut chart = Chart::new(
        Axis::between("tasks learned", 0.0, 1.0),
        Axis::between("knowledge kept", (lowest - 0.05).max(0.0), 1.0),
    );
    let comparison = compare(report);
    chart.rules.extend(comparison.iter().map(|comparison| Rule::Upright(comparison.level)));
    let at = |row: &ResultRow| (row.tasks, row.knowledge);
    let point = |row: &&ResultRow| Point::marked(at(row), tip(row), count(row.samples));
    for method in report.methods() {
        let look = Look::of(report.place(method));
        let points: Vec<Point> = report.curve(method).iter().map(point).collect();
        if let (Some(base), Some(first)) = (report.base(), points.first()) {
            chart.series.push(Series {
                name: String::new(),
                look,
                points: [at(base), first.at].map(|(x, y)| Point::at(x, y)).to_vec(),
                stroke: Stroke::dotted(1.4),
                named: Named::Not,
            });
        }
        let (name, stroke) = (method.to_owned(), Stroke::line(2.0));
        chart.series.push(Series { name, look, points, stroke, named: Named::Above });
    }
    chart.rules.extend(report.base().map(|base| Rule::Ring(at(base), tip(base), "untuned".into())));
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
    Figure::new("Learning against forgetting", caption, chart.draw())
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
