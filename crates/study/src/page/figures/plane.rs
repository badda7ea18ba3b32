use report::format::{count, share};
use report::{Axis, Chart, Figure, Named, Point, Rule, Series, Stroke};

use super::View;
use crate::page::view::{reach, with_interval};
use crate::{CellSummary, Estimate, Metric};

/// Knowledge kept over tasks learned, with the front of what no other betters.
pub(super) fn plane(view: View<'_>) -> Figure {
    let estimates = |cell: &CellSummary| {
        let of = |metric| cell.get(metric).map(|own| own.estimate);
        Some((of(Metric::Tasks)?, of(Metric::Knowledge)?))
    };
    let cells: Vec<(&CellSummary, (Estimate, Estimate))> =
        view.summary.cells.iter().filter_map(|cell| Some((cell, estimates(cell)?))).collect();
    let base = view.summary.base(Metric::Tasks).zip(view.summary.base(Metric::Knowledge));
    // Smaller amounts are drawn without intervals, which must not widen the axis either.
    let last = cells.iter().filter(|cell| cell.0.samples == view.largest());
    let means = cells.iter().map(|cell| cell.1.1.mean).chain(base.map(|base| base.1.mean));
    let tasks = cells.iter().flat_map(|cell| reach(&cell.1.0)).fold(0.0, f64::max);
    let mut chart = Chart::tall(
        Axis::between("tasks learned", 0.0, if tasks > 0.0 { tasks.min(1.0) } else { 1.0 }),
        Axis::shares("knowledge kept", last.flat_map(|cell| reach(&cell.1.1)).chain(means)),
    );
    chart.rules.push(Rule::Through(front(&cells), "front".to_owned()));
    for method in view.methods() {
        let own = cells.iter().filter(|cell| cell.0.method == method);
        let points: Vec<Point> = own.map(|cell| point(view, method, *cell)).collect();
        let series = |points: Vec<Point>, stroke: Stroke| Series {
            name: String::new(),
            look: view.look(method),
            points,
            stroke: stroke.faint(),
            named: Named::Not,
        };
        if let (Some((tasks, knowledge)), Some(first)) = (base, points.first()) {
            let start = [Point::at(tasks.mean, knowledge.mean), Point::at(first.at.0, first.at.1)];
            chart.series.push(series(start.to_vec(), Stroke::dotted(1.1)));
        }
        chart.series.push(series(points, Stroke::line(1.3)));
    }
    chart.rules.extend(base.map(|(tasks, knowledge)| {
        let (tasks, knowledge) = (tasks.mean, knowledge.mean);
        let tip = format!("untuned: tasks {}, knowledge {}", share(tasks), share(knowledge));
        Rule::Ring((tasks, knowledge), tip, "untuned".to_owned())
    }));
    let caption = format!(
        "Knowledge kept against tasks learned; up and to the right is better. Named points are the means at {} \
         samples with their 95 % intervals, the others smaller amounts of data. No method at any amount is better in \
         both directions than the points on the front.{}",
        count(view.largest()),
        view.left_out(None)
    );
    Figure::new("Learning against forgetting", caption, chart.draw())
}

fn point(
    view: View<'_>,
    method: &str,
    (cell, (tasks, knowledge)): (&CellSummary, (Estimate, Estimate)),
) -> Point {
    let tip = format!(
        "{method}, {} samples: tasks {}, knowledge {}",
        count(cell.samples),
        with_interval(&tasks, 2),
        with_interval(&knowledge, 2)
    );
    let at = (tasks.mean, knowledge.mean);
    if cell.samples != view.largest() {
        return Point::marked(at, tip, String::new());
    }
    let half = (tasks.half_width.unwrap_or(0.0), knowledge.half_width.unwrap_or(0.0));
    Point { half, ..Point::marked(at, tip, method.to_owned()) }
}

/// The edge of what is bettered, in steps: left of and below it nothing is new.
fn front(cells: &[(&CellSummary, (Estimate, Estimate))]) -> Vec<(f64, f64)> {
    let on_front = cells.iter().filter(|cell| cell.0.front);
    let mut points: Vec<_> = on_front.map(|cell| (cell.1.0.mean, cell.1.1.mean)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for point in points {
        steps.extend(steps.last().map(|before| (before.0, point.1)));
        steps.push(point);
    }
    steps
}
