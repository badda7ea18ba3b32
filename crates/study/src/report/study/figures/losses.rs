use super::View;
use crate::RunRecord;
use crate::report::{
    figures::{Figure, thin},
    format::count,
    svg::{Anchor, Axis, Chart, End, Point},
};

/// Points drawn of a curve at most.
const POINTS: usize = 60;

/// Training losses on the largest amount of data: means over the seeds that came to the end, and
/// each run that diverged. `None` where no losses were kept.
pub(super) fn losses(view: View<'_>) -> Option<Figure> {
    let runs = |method: &str, diverged: bool| -> Vec<&RunRecord> {
        let all = view.results.runs.iter();
        let own = all.filter(|run| run.method == method && run.samples == view.largest());
        own.filter(|run| run.diverged.is_some() == diverged).collect()
    };
    let means: Vec<_> =
        view.methods().map(|method| (method, thin(&mean(&runs(method, false)), POINTS))).collect();
    let broken: Vec<(&str, &RunRecord, Vec<Point>)> = view
        .methods()
        .flat_map(|method| runs(method, true).into_iter().map(move |run| (method, run)))
        .map(|(method, run)| (method, run, thin(&run.curve, POINTS)))
        .collect();
    let all: Vec<Point> = means
        .iter()
        .map(|(_, points)| points)
        .chain(broken.iter().map(|(_, _, points)| points))
        .flatten()
        .copied()
        .filter(|point| point.1 > 0.0)
        .collect();
    if all.len() < 2 {
        return None;
    }
    let mut chart = Chart::tall(
        Axis::from_zero("step", all.iter().map(|point| point.0)),
        Axis::logarithmic("training loss (nats, logarithmic)", all.iter().map(|point| point.1)),
        view.methods(),
    );
    let mut ends = Vec::new();
    for (method, points) in &means {
        let (color, _) = view.look(method);
        let points: Vec<_> = points.iter().copied().filter(|point| point.1 > 0.0).collect();
        chart.shifted_curve(&points, color, view.stroke(method), 0.0);
        if let Some(value) = points.last() {
            ends.push(End { value: *value, shift: 0.0, name: method, color, marker: None });
        }
    }
    for (method, run, points) in &broken {
        let (color, _) = view.look(method);
        chart.shifted_curve(points, color, r#"stroke-width="1.2" stroke-dasharray="2 2""#, 0.0);
        if let Some(at) = points.last().filter(|point| point.1 > 0.0).map(|point| chart.at(*point))
        {
            let style = format!(r#"fill="{color}" font-weight="700" font-size="17""#);
            chart.canvas.text((at.0, at.1 + 5.0), Anchor::Middle, "\u{d7}", &style);
            let name = format!("{method}, seed {}", run.seed);
            let place = (at.0 + 8.0, at.1 - 6.0);
            chart.canvas.text(place, Anchor::Start, &name, r#"font-size="11""#);
        }
    }
    chart.name_ends(&ends);
    let mut caption = format!(
        "Training loss at {} samples, means over seeds and neighbouring steps.",
        count(view.largest())
    );
    if !broken.is_empty() {
        caption.push_str(" Crosses end the runs that diverged, which are in no mean.");
    }
    Some(Figure { title: "Training loss".to_owned(), caption, canvas: chart.finish() })
}

/// The mean over runs by step, of the steps that all of them have.
fn mean(runs: &[&RunRecord]) -> Vec<Point> {
    let steps = runs.iter().map(|run| run.curve.len()).min().unwrap_or(0);
    let at = |step: usize| {
        let sum: f64 = runs.iter().map(|run| run.curve[step].1).sum();
        (runs[0].curve[step].0, sum / runs.len() as f64)
    };
    (0..steps).map(at).collect()
}
