use super::{View, amounts::share_axis};
use crate::report::{
    figures::Figure,
    format::count,
    study::view::with_interval,
    svg::{Axis, Chart},
};
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
    let points: Vec<(&str, f64, Estimate)> = view
        .results
        .methods
        .iter()
        .filter_map(|method| {
            let speed = speed(method.cost.as_ref()?);
            let score = view.last(&method.name)?.get(Metric::Score)?.estimate;
            (speed.is_finite() && speed > 0.0).then_some((method.name.as_str(), speed, score))
        })
        .collect();
    if points.is_empty() {
        return None;
    }
    let speeds = points.iter().map(|point| point.1);
    let (low, high) =
        speeds.clone().fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(v), high.max(v)));
    let x = match high > LINEAR * low {
        true => Axis::logarithmic(&format!("tokens per second in {what} (logarithmic)"), speeds),
        false => Axis::linear(&format!("tokens per second in {what}"), speeds),
    };
    let scores: Vec<Estimate> = points.iter().map(|point| point.2).collect();
    let y = share_axis("score", &scores, None);
    let mut chart = Chart::tall(x, y, std::iter::empty());
    for (method, speed, score) in points {
        let look = view.look(method);
        let half = score.half_width.unwrap_or(0.0);
        chart.interval((speed, score.mean), half, true, look.0, 0.0);
        let score_text = with_interval(&score, 2);
        let tokens = count(speed.round() as usize);
        let tip = format!("{method}: {tokens} tokens per second, score {score_text}");
        chart.point((speed, score.mean), look, &tip, method);
    }
    let caption = format!(
        "Score, the mean of knowledge kept and tasks learned, after {} samples against tokens per second in {what}; up \
         and to the right is better.{}",
        count(view.largest()),
        view.left_out(Some(view.largest()))
    );
    let title = format!("Cost of {what} against quality");
    Some(Figure { title, caption, canvas: chart.finish() })
}
