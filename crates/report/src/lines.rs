use crate::{Axis, Chart, Figure, Look, Named, PageError, Point, Series, Stroke};

/// A named line of [`lines_svg`].
#[derive(Clone, Debug, PartialEq)]
pub struct Lines {
    /// The name at its end; names of more than 17 characters are cut.
    pub name: String,
    /// Pairs of values, from left to right; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Whether each point has a mark.
    pub marked: bool,
}

impl Lines {
    /// A line through points.
    pub fn plain(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, marked: false }
    }

    /// The same with a mark at each point.
    pub fn marked(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { marked: true, ..Self::plain(name, points) }
    }
}

/// Lines over common axes, each named at its right end, as an SVG file in the look of the reports:
/// for what a program of one's own has measured. `axes` are the names of the two axes.
///
/// # Errors
///
/// [`PageError`] when the file cannot be made.
pub fn lines_svg(title: &str, axes: [&str; 2], lines: &[Lines]) -> Result<String, PageError> {
    let values = || lines.iter().flat_map(|line| &line.points);
    let mut chart = Chart::tall(
        axis(axes[0], values().map(|point| point.0)),
        axis(axes[1], values().map(|point| point.1)),
    );
    let series = lines.iter().enumerate().map(|(at, line)| Series {
        name: line.name.clone(),
        look: Look::of(at),
        points: line
            .points
            .iter()
            .map(|(x, y)| Point { marked: line.marked, ..Point::at(*x, *y) })
            .collect(),
        stroke: Stroke::line(1.8),
        named: Named::AtEnd,
    });
    chart.series.extend(series);
    Figure::new(title, "", chart.draw()).file()
}

/// An axis that starts at 0 where nothing to speak of lies below.
fn axis(name: &str, values: impl Iterator<Item = f64> + Clone) -> Axis {
    let finite = values.clone().filter(|value| value.is_finite());
    let (low, high) = finite.fold((0.0f64, 0.0f64), |all, v| (all.0.min(v), all.1.max(v)));
    if low < -0.01 * high { Axis::linear(name, values) } else { Axis::from_zero(name, values) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_drawn_and_named() {
        let rising = (0..5).map(|i| (f64::from(i), f64::from(i * i))).collect();
        let falling = vec![(0.0, 3.0), (f64::NAN, 1.0), (4.0, -2.0)];
        let lines = [Lines::plain("rising", rising), Lines::marked("falling & more", falling)];
        let svg = lines_svg("Two lines", ["step", "value"], &lines).unwrap();
        for text in ["Two lines", "step", "value", "rising", "falling &amp; more", "-5"] {
            assert!(svg.contains(text), "{text} is not in {svg}");
        }
        assert!(!svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn nothing_to_draw_is_an_empty_chart() {
        for lines in [Vec::new(), vec![Lines::plain("empty", Vec::new())]] {
            assert!(lines_svg("Nothing", ["x", "y"], &lines).unwrap().ends_with("</svg>\n"));
        }
    }
}
