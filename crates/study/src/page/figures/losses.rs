use report::format::count;
use report::{Axis, Chart, Figure, Marker, Named, Point, Series, Stroke};

use super::View;
use crate::RunRecord;
use crate::demo::thin;

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
    // The axis is logarithmic.
    let points = |curve: &[(f64, f64)]| -> Vec<Point> {
        let thinned = thin(curve, POINTS).into_iter().filter(|point| point.1 > 0.0);
        thinned.map(|(step, loss)| Point::at(step, loss)).collect()
    };
    let mut series = Vec::new();
    let mut broken = Vec::new();
    for method in view.methods() {
        let look = view.look(method);
        series.push(Series {
            name: method.to_owned(),
            look,
            points: points(&mean(&runs(method, false))),
            stroke: Stroke::line(2.0),
            named: Named::AtEnd,
        });
        for run in runs(method, true) {
            let mut points = points(&run.curve);
            if let Some(last) = points.last_mut() {
                let name = format!("{method}, seed {}", run.seed);
                *last = Point::marked(last.at, name.clone(), name);
            }
            broken.push(Series {
                name: String::new(),
                look: look.with(Marker::Cross),
                points,
                stroke: Stroke::dotted(1.2),
                named: Named::Not,
            });
        }
    }
    let all = || series.iter().chain(&broken).flat_map(|series| &series.points);
    if all().count() < 2 {
        return None;
    }
    let name = "training loss (nats, logarithmic)";
    let mut chart = Chart::tall(
        Axis::from_zero("step", all().map(|point| point.at.0)),
        Axis::logarithmic(name, all().map(|point| point.at.1)),
    );
    let mut caption = format!(
        "Training loss at {} samples, means over seeds and neighbouring steps.",
        count(view.largest())
    );
    if !broken.is_empty() {
        caption.push_str(" Crosses end the runs that diverged, which are in no mean.");
    }
    chart.series.extend(series.into_iter().chain(broken));
    Some(Figure::new("Training loss", caption, chart.draw()))
}

/// The mean over runs by step, of the steps that all of them have.
fn mean(runs: &[&RunRecord]) -> Vec<(f64, f64)> {
    let steps = runs.iter().map(|run| run.curve.len()).min().unwrap_or(0);
    let at = |step: usize| {
        let sum: f64 = runs.iter().map(|run| run.curve[step].1).sum();
        (runs[0].curve[step].0, sum / runs.len() as f64)
    };
    (0..steps).map(at).collect()
}
