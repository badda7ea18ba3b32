use crate::report::svg::{self, Axis, Chart, End};

/// A named line of [`lines_svg`].
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The name at its end; names of more than 17 characters are cut.
    pub name: String,
    /// Pairs of values, from left to right; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Whether each point has a mark.
    pub marked: bool,
}

impl Series {
    /// A line through points.
    pub fn line(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marked: false }
    }

    /// The same with a mark at each point.
    pub fn marked(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { marked: true, ..Self::line(name, points) }
    }
}

/// Lines over a common axis, each named at its right end, as an SVG file in the look of the reports:
/// for what a program of one's own has measured. `axes` are the names of the two axes.
pub fn lines_svg(title: &str, axes: [&str; 2], series: &[Series]) -> String {
    let values = || series.iter().flat_map(|series| &series.points);
    let mut chart = Chart::tall(
        axis(axes[0], values().map(|point| point.0)),
        axis(axes[1], values().map(|point| point.1)),
        series.iter().map(|series| series.name.as_str()),
    );
    let mut ends = Vec::with_capacity(series.len());
    for (i, Series { name, points, marked }) in series.iter().enumerate() {
        let (color, marker) = svg::look(i);
        chart.curve(points, color, r#"stroke-width="1.8""#);
        if *marked {
            points.iter().for_each(|point| chart.point(*point, (color, marker), name, ""));
        }
        let last = points.iter().rev().find(|point| point.0.is_finite() && point.1.is_finite());
        let marker = marked.then_some(marker);
        ends.extend(last.map(|value| End { value: *value, shift: 0.0, name, color, marker }));
    }
    chart.name_ends(&ends);
    chart.finish().standalone(title)
}

/// An axis that starts at 0 where nothing to speak of lies below.
fn axis(name: &str, values: impl Iterator<Item = f64> + Clone) -> Axis {
    let finite = values.clone().filter(|value| value.is_finite());
    let (low, high) =
        finite.fold((0.0, 0.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
    if low < -0.01 * high { Axis::linear(name, values) } else { Axis::from_zero(name, values) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_is_drawn_and_named() {
        let rising = (0..5).map(|i| (f64::from(i), f64::from(i * i))).collect();
        let falling = vec![(0.0, 3.0), (f64::NAN, 1.0), (4.0, -2.0)];
        let series = [Series::line("rising", rising), Series::marked("falling & more", falling)];
        let svg = lines_svg("Two lines", ["step", "value"], &series);
        for text in ["Two lines", "step", "value", "rising", "falling &amp; more", "-5"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_an_empty_chart() {
        assert!(lines_svg("Nothing", ["x", "y"], &[]).contains("</svg>"));
        let empty = [Series::line("empty", Vec::new())];
        assert!(lines_svg("Nothing", ["x", "y"], &empty).contains("</svg>"));
    }
}
