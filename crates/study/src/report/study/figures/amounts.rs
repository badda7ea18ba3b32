use super::View;
use crate::report::{
    figures::Figure,
    format::count,
    study::view::with_interval,
    svg::{Axis, Chart, End},
};
use crate::{Estimate, Metric};

/// Room that methods at the same amount of data share, in units of the drawing.
const SPREAD: f64 = 60.0;

/// Knowledge kept over the amount of tuning data.
pub(super) fn knowledge(view: View<'_>) -> Figure {
    let caption = "Knowledge kept against the amount of tuning data, means over seeds with their 95 % intervals. At \
                   equal data the methods need not have learned equally much.";
    figure(view, "Knowledge kept", caption, Metric::Knowledge, 2)
}

/// Tasks learned over the amount of tuning data.
pub(super) fn tasks(view: View<'_>) -> Figure {
    let caption = "Tasks learned against the amount of tuning data, means over seeds with their 95 % intervals.";
    figure(view, "Tasks learned", caption, Metric::Tasks, 2)
}

/// Change of the loss on general text over the amount of tuning data.
pub(super) fn text(view: View<'_>) -> Figure {
    let caption = "Change of the loss on general text from the base model of the same seed against the amount of \
                   tuning data, means over seeds with their 95 % intervals; lower is better.";
    figure(view, "Loss on general text", caption, Metric::TextLossChange, 3)
}

fn figure(view: View<'_>, title: &str, caption: &str, metric: Metric, decimals: usize) -> Figure {
    let curves: Vec<_> =
        view.methods().map(|method| (method, view.curve(method, metric))).collect();
    let base = match metric {
        Metric::TextLossChange => Some(0.0),
        _ => view.summary.base(metric).map(|estimate| estimate.mean),
    };
    let estimates: Vec<Estimate> =
        curves.iter().flat_map(|(_, curve)| curve.iter().map(|(_, estimate)| *estimate)).collect();
    let y = match metric {
        Metric::TextLossChange => {
            let all = estimates.iter().flat_map(reach).chain(base);
            Axis::linear("change of the loss (nats)", all)
        }
        _ => share_axis(&title.to_lowercase(), &estimates, base),
    };
    let x = Axis::amounts("tuning samples (logarithmic)", view.amounts());
    let mut chart = Chart::tall(x, y, view.methods());
    if let Some(base) = base {
        chart.level(base, "untuned");
    }
    let steps = curves.len().saturating_sub(1).max(1) as f64;
    let spread = spread(&chart, &view.amounts());
    let mut ends = Vec::new();
    for (at, (method, curve)) in curves.iter().enumerate() {
        let (color, marker) = view.look(method);
        let shift = (at as f64 / steps - 0.5) * spread;
        let points: Vec<_> = curve.iter().map(|(n, e)| (*n as f64, e.mean)).collect();
        chart.shifted_curve(&points, color, view.stroke(method), shift);
        for ((n, estimate), point) in curve.iter().zip(&points) {
            let half = estimate.half_width.unwrap_or(0.0);
            chart.interval(*point, half, true, color, shift);
            let samples = count(*n);
            let value = with_interval(estimate, decimals);
            let tip = format!("{method}, {samples} samples: {value}");
            chart.shifted_point(*point, (color, marker), &tip, shift);
        }
        if let Some(value) = points.last() {
            ends.push(End { value: *value, shift, name: method, color, marker: Some(marker) });
        }
    }
    chart.name_ends(&ends);
    let caption = format!("{caption}{}", view.left_out(None));
    Figure { title: title.to_owned(), caption, canvas: chart.finish() }
}

/// How far the methods at an amount may stand apart without reaching into the next.
fn spread(chart: &Chart, amounts: &[usize]) -> f64 {
    let places: Vec<f64> = amounts.iter().map(|n| chart.at((*n as f64, 0.0)).0).collect();
    let nearest = places.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    SPREAD.min(0.45 * nearest)
}

/// An estimate and the ends of its interval.
pub(super) fn reach(estimate: &Estimate) -> [f64; 3] {
    let half = estimate.half_width.unwrap_or(0.0);
    [estimate.mean - half, estimate.mean, estimate.mean + half]
}

/// An axis for shares that covers the intervals as far as they lie between 0 and 1.
pub(super) fn share_axis(name: &str, estimates: &[Estimate], also: Option<f64>) -> Axis {
    let all = estimates.iter().flat_map(reach).chain(also).filter(|value| value.is_finite());
    let (low, high) = all.fold((1.0f64, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    match low <= high {
        true => Axis::between(name, low.max(0.0) - 1e-9, high.min(1.0) + 1e-9),
        false => Axis::between(name, 0.0, 1.0),
    }
}
