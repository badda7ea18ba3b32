use super::{
    View,
    amounts::{reach, share_axis},
};
use crate::report::{
    figures::Figure,
    format::{count, share},
    study::view::with_interval,
    svg::{Axis, Chart, Point},
};
use crate::{CellSummary, Estimate, Metric};

/// Knowledge kept over tasks learned, with the front of what no other betters.
pub(super) fn plane(view: View<'_>) -> Figure {
    let cells: Vec<_> = view
        .summary
        .cells
        .iter()
        .filter_map(|cell| {
            let of = |metric| cell.get(metric).map(|own| own.estimate);
            Some((cell, of(Metric::Tasks)?, of(Metric::Knowledge)?))
        })
        .collect();
    let base = view.summary.base(Metric::Tasks).zip(view.summary.base(Metric::Knowledge));
    let last: Vec<Estimate> =
        cells.iter().filter(|cell| cell.0.samples == view.largest()).map(|cell| cell.2).collect();
    // Smaller amounts are drawn without intervals, which must not widen the axis either.
    let lowest = cells.iter().map(|cell| cell.2.mean).fold(1.0, f64::min);
    let x = cells.iter().flat_map(|cell| reach(&cell.1)).fold(0.0, f64::max);
    let mut chart = Chart::tall(
        Axis::between("tasks learned", 0.0, if x > 0.0 { x.min(1.0) } else { 1.0 }),
        share_axis("knowledge kept", &last, base.map(|base| base.1.mean.min(lowest))),
        std::iter::empty(),
    );
    front(&mut chart, &cells);
    for method in view.methods() {
        let look = view.look(method);
        let own: Vec<_> = cells.iter().filter(|cell| cell.0.method == method).collect();
        let points: Vec<Point> = own.iter().map(|cell| (cell.1.mean, cell.2.mean)).collect();
        if let (Some((tasks, knowledge)), Some(first)) = (base, points.first()) {
            let start = [(tasks.mean, knowledge.mean), *first];
            let style = r#"stroke-width="1.1" stroke-dasharray="2 4" stroke-opacity="0.7""#;
            chart.curve(&start, look.0, style);
        }
        chart.curve(&points, look.0, r#"stroke-width="1.3" stroke-opacity="0.7""#);
        for ((cell, tasks, knowledge), point) in own.into_iter().zip(points) {
            let largest = cell.samples == view.largest();
            if largest {
                chart.interval(point, knowledge.half_width.unwrap_or(0.0), true, look.0, 0.0);
                chart.interval(point, tasks.half_width.unwrap_or(0.0), false, look.0, 0.0);
            }
            let tip = format!(
                "{method}, {} samples: tasks {}, knowledge {}",
                count(cell.samples),
                with_interval(tasks, 2),
                with_interval(knowledge, 2)
            );
            chart.point(point, look, &tip, if largest { method } else { "" });
        }
    }
    if let Some((tasks, knowledge)) = base {
        let tip =
            format!("untuned: tasks {}, knowledge {}", share(tasks.mean), share(knowledge.mean));
        chart.ring((tasks.mean, knowledge.mean), &tip, "untuned");
    }
    let caption = format!(
        "Knowledge kept against tasks learned; up and to the right is better. Named points are the means at {} \
         samples with their 95 % intervals, the others smaller amounts of data. No method at any amount is better in \
         both directions than the points on the front.{}",
        count(view.largest()),
        view.left_out(None)
    );
    Figure { title: "Learning against forgetting".to_owned(), caption, canvas: chart.finish() }
}

/// The edge of what is bettered, in steps: left of and below it nothing is new.
fn front(chart: &mut Chart, cells: &[(&CellSummary, Estimate, Estimate)]) {
    let on_front = cells.iter().filter(|cell| cell.0.front);
    let mut points: Vec<Point> = on_front.map(|cell| (cell.1.mean, cell.2.mean)).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut steps: Vec<Point> = Vec::new();
    for point in points {
        if let Some(before) = steps.last().copied() {
            steps.push((before.0, point.1));
        }
        steps.push(point);
    }
    if !steps.is_empty() {
        chart.dashes(&steps, "front");
    }
}
