use report::format::count;
use report::{Axis, Chart, Figure, Named, Point, Rule, Series, Stroke};

use super::View;
use crate::page::view::{reach, with_interval};
use crate::{Estimate, Metric};

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
    let curves: Vec<(&str, Vec<(usize, Estimate)>)> =
        view.methods().map(|method| (method, view.curve(method, metric))).collect();
    let base = match metric {
        Metric::TextLossChange => Some(0.0),
        _ => view.summary.base(metric).map(|estimate| estimate.mean),
    };
    let estimates = curves.iter().flat_map(|(_, curve)| curve.iter().map(|(_, e)| e));
    let all = estimates.flat_map(reach).chain(base);
    let y = match metric {
        Metric::TextLossChange => Axis::linear("change of the loss (nats)", all),
        _ => Axis::shares(&title.to_lowercase(), all),
    };
    let x = Axis::amounts("tuning samples (logarithmic)", view.amounts());
    let mut chart = Chart { beside: true, ..Chart::tall(x, y) };
    chart.rules.extend(base.map(|base| Rule::Level(base, "untuned".to_owned())));
    for (method, curve) in curves {
        let point = |(n, estimate): (usize, Estimate)| {
            let value = with_interval(&estimate, decimals);
            let tip = format!("{method}, {} samples: {value}", count(n));
            let half = (0.0, estimate.half_width.unwrap_or(0.0));
            Point { half, ..Point::marked((n as f64, estimate.mean), tip, String::new()) }
        };
        chart.series.push(Series {
            name: method.to_owned(),
            look: view.look(method),
            points: curve.into_iter().map(point).collect(),
            stroke: Stroke::line(2.0),
            named: Named::AtEnd,
        });
    }
    Figure::new(title, format!("{caption}{}", view.left_out(None)), chart.draw())
}
