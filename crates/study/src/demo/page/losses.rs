use report::{Axis, Chart, Figure, Look, Named, Point, Series, Stroke};

use crate::demo::{DemoReport, LossCurve};

/// Points drawn per curve at most; more would not be told apart.
const POINTS: usize = 120;

/// Training losses: of the runs named after no method, such as pre-training, and of the longest run per method.
pub(super) fn losses(report: &DemoReport) -> Vec<Figure> {
    let others = report.curves.iter().filter(|curve| method_of(report, curve).is_none()).collect();
    let longest = |method| {
        let own = report.curves.iter().filter(|curve| method_of(report, curve) == Some(method));
        own.max_by_key(|curve| curve.points.len())
    };
    let tuned: Vec<_> = report.methods().into_iter().filter_map(longest).collect();
    [("Training loss before tuning", others), ("Training loss of the tuning", tuned)]
        .into_iter()
        .filter(|(_, curves)| curves.iter().any(|curve| curve.points.len() > 1))
        .map(|(title, curves)| figure(report, title, &curves))
        .collect()
}

/// The method whose name a curve's name begins with; the longest, as one name may begin with another.
fn method_of<'a>(report: &'a DemoReport, curve: &LossCurve) -> Option<&'a str> {
    let methods = report.methods().into_iter().filter(|method| curve.name.starts_with(method));
    methods.max_by_key(|method| method.len())
}

fn figure(report: &DemoReport, title: &str, curves: &[&LossCurve]) -> Figure {
    let drawn: Vec<_> = curves.iter().map(|curve| thin(&curve.points, POINTS)).collect();
    let highest = drawn.iter().flatten().map(|point| point.1).fold(0.0, f64::max);
    let mut chart = Chart::new(
        Axis::from_zero("step", drawn.iter().flatten().map(|point| point.0)),
        Axis::between("training loss (nats)", 0.0, if highest > 0.0 { highest } else { 1.0 }),
    );
    for (i, (curve, points)) in curves.iter().zip(&drawn).enumerate() {
        let place = match method_of(report, curve) {
            Some(method) => report.place(method),
            None => report.methods().len() + i,
        };
        chart.series.push(Series {
            name: curve.name.clone(),
            look: Look::of(place),
            points: points.iter().map(|point| Point::at(point.0, point.1)).collect(),
            stroke: Stroke::line(1.6),
            named: Named::Above,
        });
    }
    let caption =
        "Each point is the mean over neighbouring steps; of several runs the longest is shown.";
    Figure::new(title, caption, chart.draw())
}

/// Averages neighbouring points until at most so many are left.
pub(crate) fn thin(points: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let finite: Vec<(f64, f64)> = points
        .iter()
        .copied()
        .filter(|(step, loss)| step.is_finite() && loss.is_finite())
        .collect();
    let size = finite.len().div_ceil(most).max(1);
    finite
        .chunks(size)
        .map(|chunk| {
            let n = chunk.len() as f64;
            let sum =
                chunk.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
            (sum.0 / n, sum.1 / n)
        })
        .collect()
}
