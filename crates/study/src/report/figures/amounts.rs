use super::{Figure, method_look};
use crate::report::{
    DemoReport, ResultRow,
    format::{count, loss, share},
    svg::{Axis, Chart},
};

/// Knowledge kept over the amount of tuning data.
pub(in crate::report) fn forgetting(report: &DemoReport) -> Figure {
    let lowest = report.rows.iter().map(|row| row.knowledge).fold(1.0, f64::min);
    let axis = Axis::between("knowledge kept", (lowest - 0.05).max(0.0), 1.0);
    Figure {
        title: "Forgetting".to_owned(),
        caption: "Knowledge kept against the amount of tuning data. At equal data the methods need not have learned \
                  equally much."
            .to_owned(),
        canvas: over_data(report, axis, |row| row.knowledge, share).finish(),
    }
}

/// Loss on general text over the amount of tuning data.
pub(in crate::report) fn text(report: &DemoReport) -> Figure {
    let axis =
        Axis::linear("loss on general text (nats)", report.rows.iter().map(|row| row.text_loss));
    Figure {
        title: "General text".to_owned(),
        caption: "Loss on general text, which no tuning sample resembles, against the amount of tuning data; lower \
                  is better."
            .to_owned(),
        canvas: over_data(report, axis, |row| row.text_loss, loss).finish(),
    }
}

fn over_data(
    report: &DemoReport,
    axis: Axis,
    value: fn(&ResultRow) -> f64,
    format: fn(f64) -> String,
) -> Chart {
    let amounts = report.rows.iter().map(|row| row.samples).collect();
    let mut chart = Chart::new(Axis::amounts("tuning samples (logarithmic)", amounts), axis);
    for method in report.methods() {
        let rows = report.curve(method);
        let look = method_look(report, method);
        let values: Vec<_> = rows
            .iter()
            .filter(|row| row.samples > 0)
            .map(|row| (row.samples as f64, value(row)))
            .collect();
        chart.curve(&values, look.0, r#"stroke-width="2""#);
        for at in values {
            let tip = format!("{method}, {} samples: {}", count(at.0 as usize), format(at.1));
            chart.point(at, look, &tip, &format(at.1));
        }
        chart.legend(method, (look.0, Some(look.1)));
    }
    if let Some(base) = report.base() {
        chart.level(value(base), &format!("untuned {}", format(value(base))));
    }
    chart
}
