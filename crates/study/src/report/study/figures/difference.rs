use super::{View, amounts::reach};
use crate::report::{
    figures::Figure,
    format::count,
    study::view::difference,
    svg::{Anchor, Axis, Canvas, FONT, Marker, WIDTH, text_width},
};
use crate::{Estimate, Metric};

const TOP: f64 = 30.0;
const ROW: f64 = 23.0;
const GAP: f64 = 26.0;
const RIGHT: f64 = WIDTH - 14.0;

/// A method's differences from the baseline, by metric.
struct Row<'a> {
    method: &'a str,
    differences: [Option<Estimate>; 2],
}

/// Differences from the baseline, paired by seed, on the largest amount of data.
pub(super) fn differences(view: View<'_>) -> Option<Figure> {
    let metrics = [Metric::Knowledge, Metric::Tasks];
    let rows: Vec<_> = view
        .methods()
        .filter(|method| *method != view.results.baseline)
        .filter_map(|method| {
            let cell = view.last(method)?;
            let differences = metrics.map(|metric| cell.get(metric).and_then(|own| own.difference));
            Some(Row { method, differences })
        })
        .filter(|row| row.differences.iter().any(Option::is_some))
        .collect();
    if rows.is_empty() {
        return None;
    }
    let bottom = TOP + ROW * rows.len() as f64;
    let mut canvas = Canvas::new(WIDTH, bottom + 40.0);
    let widest = rows.iter().map(|row| text_width(row.method)).fold(0.0, f64::max).min(140.0);
    let left = widest + 30.0;
    let width = (RIGHT - left - GAP) / 2.0;
    for (i, row) in rows.iter().enumerate() {
        let (color, marker) = view.look(row.method);
        let y = TOP + ROW * (i as f64 + 0.5);
        canvas.marker(marker, (10.0, y), color, "");
        canvas.text((22.0, y + 0.35 * FONT), Anchor::Start, row.method, "");
    }
    for (i, name) in ["knowledge kept", "tasks learned"].into_iter().enumerate() {
        let from = left + i as f64 * (width + GAP);
        panel(&mut canvas, view, &rows, i, (from, width, bottom), name);
    }
    let caption = format!(
        "Difference from {} after {} samples, paired by seed, with 95 % intervals. Hollow, faint marks have intervals \
         that reach over zero or none at all: with these seeds the method cannot be told apart from {}.{}",
        view.results.baseline,
        count(view.largest()),
        view.results.baseline,
        view.left_out(Some(view.largest()))
    );
    Some(Figure { title: format!("Difference from {}", view.results.baseline), caption, canvas })
}

fn panel(
    canvas: &mut Canvas,
    view: View<'_>,
    rows: &[Row<'_>],
    metric: usize,
    (left, width, bottom): (f64, f64, f64),
    name: &str,
) {
    let all = rows.iter().filter_map(|row| row.differences[metric]);
    let ends: Vec<f64> = all.flat_map(|estimate| reach(&estimate)).collect();
    let (low, high) =
        ends.iter().fold((-0.01f64, 0.01f64), |(low, high), v| (low.min(*v), high.max(*v)));
    // An interval over few seeds can be wider than the range of the measure.
    let axis = Axis::between(name, low.max(-1.0), high.min(1.0));
    let x_at = |value: f64| left + axis.at(value).clamp(0.0, 1.0) * width;
    canvas.text((left + width / 2.0, 18.0), Anchor::Middle, name, r#"font-weight="600""#);
    let mut free = f64::NEG_INFINITY;
    for (value, text) in &axis.ticks {
        let x = x_at(*value);
        canvas.line((x, TOP), (x, bottom), r#"stroke-opacity="0.13""#);
        let text = if *value > 1e-9 { format!("+{text}") } else { text.replace('-', "\u{2212}") };
        let half = text_width(&text) / 2.0;
        // Marks at an end would reach into the other panel or out of the figure.
        if x - half > free && x + half <= left + width + GAP / 2.0 {
            canvas.text((x, bottom + 18.0), Anchor::Middle, &text, "");
            free = x + half + 5.0;
        }
    }
    canvas.line((x_at(0.0), TOP - 4.0), (x_at(0.0), bottom), r#"stroke-opacity="0.8""#);
    for (i, row) in rows.iter().enumerate() {
        let Some(estimate) = row.differences[metric] else {
            continue;
        };
        let (color, marker) = view.look(row.method);
        let clear = estimate.sign().is_some();
        let y = TOP + ROW * (i as f64 + 0.5);
        let [low, middle, high] = reach(&estimate).map(x_at);
        let style = if clear { "" } else { r#"stroke-opacity="0.55""# };
        canvas.path(&[(low, y), (high, y)], color, &format!(r#"stroke-width="2.2" {style}"#));
        let tip = format!("{}, {name}: {}", row.method, difference(&estimate, 2));
        let marker: Option<Marker> = clear.then_some(marker);
        match marker {
            Some(marker) => canvas.marker(marker, (middle, y), color, &tip),
            None => canvas.hollow((middle, y), color, &tip),
        }
    }
}
