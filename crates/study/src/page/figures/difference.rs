use report::format::count;
use report::{Figure, Interval, IntervalRow, Intervals};

use super::View;
use crate::Metric;
use crate::page::view::difference;

/// Differences from the baseline, paired by seed, on the largest amount of data.
pub(super) fn differences(view: View<'_>) -> Option<Figure> {
    let metrics = [(Metric::Knowledge, "knowledge kept"), (Metric::Tasks, "tasks learned")];
    let methods = view.methods().filter(|method| *method != view.results.baseline);
    let rows = methods.filter_map(|method| {
        let cell = view.last(method)?;
        let values = metrics.map(|(metric, name)| {
            let estimate = cell.get(metric)?.difference?;
            let tip = format!("{method}, {name}: {}", difference(&estimate, 2));
            let clear = estimate.sign().is_some();
            Some(Interval { mean: estimate.mean, half: estimate.half_width, clear, tip })
        });
        let measured = values.iter().any(Option::is_some);
        let (name, look) = (method.to_owned(), view.look(method));
        measured.then(|| IntervalRow { name, look, values: values.to_vec() })
    });
    let chart = Intervals {
        panels: metrics.map(|(_, name)| name.to_owned()).to_vec(),
        rows: rows.collect(),
        limits: (-1.0, 1.0),
    };
    let baseline = &view.results.baseline;
    let caption = format!(
        "Difference from {baseline} after {} samples, paired by seed, with 95 % intervals. Hollow, faint marks have \
         intervals that reach over zero or none at all: with these seeds the method cannot be told apart from \
         {baseline}.{}",
        count(view.largest()),
        view.left_out(Some(view.largest()))
    );
    let title = format!("Difference from {baseline}");
    (!chart.rows.is_empty()).then(|| Figure::new(title, caption, chart.draw()))
}
