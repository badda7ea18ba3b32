use report::format::count;
use report::{Axis, Chart, Figure, Named, Point, Series, Stroke};

use super::View;
use crate::page::view::{reach, with_interval};
use crate::{Estimate, MethodCost, Metric};

/// How many times slower than the fastest a method may be on a linear axis.
const LINEAR: f64 = 5.0;

/// Quality over the speed of training; `None` where no cost was measured.
pub(super) fn training(view: View<'_>) -> Option<Figure> {
    figure(view, "training", |cost| cost.train_tokens_per_s)
}

/// Quality over the speed of generation; `None` where no cost was measured.
pub(super) fn generation(view: View<'_>) -> Option<Figure> {
    figure(view, "generation", |cost| cost.generate_tokens_per_s)
}

fn figure(view: View<'_>, what: &str, speed: fn(&MethodCost) -> f64) -> Option<Figure> {
    let methods = view.results.methods.iter();
    let points: Vec<(&str, f64, Estimate)> = methods
        .filter_map(|method| {
            let speed = speed(method.cost.as_ref()?);
            let score = view.last(&method.name)?.get(Metric::Score)?.estimate;
            (speed.is_finite() && speed > 0.0).then_some((method.name.as_str(), speed, score))
        })
        .collect();
    let speeds = points.iter().map(|point| point.1);
    let lowest = speeds.clone().reduce(f64::min)?;
    let x = match speeds.clone().any(|speed| speed > LINEAR * lowest) {
        true => Axis::logarithmic(&format!("tokens per second in {what} (logarithmic)"), speeds),
        false => Axis::linear(&format!("tokens per second in {what}"), speeds),
    };
    let y = Axis::shares("score", points.iter().flat_map(|point| reach(&point.2)));
    let mut chart = Chart::tall(x, y);
    for (method, speed, score) in points {
        let tokens = count(speed.round() as usize);
        let tip =
            format!("{method}: {tokens} tokens per second, score {}", with_interval(&score, 2));
        let half = (0.0, score.half_width.unwrap_or(0.0));
        let point = Point::marked((speed, score.mean), tip, method.to_owned());
        chart.series.push(Series {
            name: method.to_owned(),
            look: view.look(method),
            points: vec![Point { half, ..point }],
            stroke: Stroke::line(0.0),
            named: Named::Not,
        });
    }
    let caption = format!(
        "Score, the mean of knowledge kept and tasks learned, after {} samples against tokens per second in {what}; up \
         and to the right is better.{}",
        count(view.largest()),
        view.left_out(Some(view.largest()))
    );
    Some(Figure::new(format!("Cost of {what} against quality"), caption, chart.draw()))
}
