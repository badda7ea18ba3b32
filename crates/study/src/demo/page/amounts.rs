use report::format::{count, decimal};
use report::{Axis, Chart, Figure, Look, Named, Point, Rule, Series, Stroke};

use crate::ResultRow;
use crate::demo::DemoReport;

/// Knowledge kept over the amount of tuning data.
pub(super) fn forgetting(report: &DemoReport) -> Figure {
    let lowest = report.rows.iter().map(|row| row.knowledge).fold(1.0, f64::min);
    let axis = Axis::between("knowledge kept", (lowest - 0.05).max(0.0), 1.0);
    let caption = "Knowledge kept against the amount of tuning data. At equal data the methods need not have learned \
                   equally much.";
    Figure::new("Forgetting", caption, over_data(report, axis, |row| row.knowledge, 2).draw())
}

/// Loss on general text over the amount of tuning data.
pub(super) fn text(report: &DemoReport) -> Figure {
    let losses = report.rows.iter().map(|row| row.text_loss);
    let axis = Axis::linear("loss on general text (nats)", losses);
    let caption = "Loss on general text, which no tuning sample resembles, against the amount of tuning data; lower \
                   is better.";
    Figure::new("General text", caption, over_data(report, axis, |row| row.text_loss, 3).draw())
}

fn over_data(report: &DemoReport, y: Axis, value: fn(&ResultRow) -> f64, places: usize) -> Chart {
    let amounts = report.rows.iter().map(|row| row.samples).collect();
    let mut chart = Chart::new(Axis::amounts("tuning samples (logarithmic)", amounts), y);
    for method in report.methods() {
        let rows = report.curve(method);
        let point = |row: &&ResultRow| {
            let (at, text) = ((row.samples as f64, value(row)), decimal(value(row), places));
            Point::marked(at, format!("{method}, {} samples: {text}", count(row.samples)), text)
        };
        chart.series.push(Series {
            name: method.to_owned(),
            look: Look::of(report.place(method)),
            points: rows.iter().filter(|row| row.samples > 0).map(point).collect(),
            stroke: Stroke::line(2.0),
            named: Named::Above,
        });
    }
    let level =
        |base| Rule::Level(value(base), format!("untuned {}", decimal(value(base), places)));
    chart.rules.extend(report.base().map(level));
    chart
}
