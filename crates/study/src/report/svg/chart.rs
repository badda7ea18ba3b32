use super::{Anchor, Axis, Canvas, FONT, Marker, Placer, Point, Rect, text_width};

/// Width of every figure. Small, so that text stays readable when a phone shows the figure at full width.
pub(in crate::report) const WIDTH: f64 = 480.0;
/// Height of every figure.
pub(in crate::report) const HEIGHT: f64 = 330.0;

const PLOT: Rect = Rect { left: 46.0, top: 54.0, right: WIDTH - 18.0, bottom: HEIGHT - 46.0 };

/// Height of a figure with a legend of its series at the right.
const TALL: f64 = 400.0;
/// Room between the labels at the right.
const LABEL_STEP: f64 = 16.5;

/// Base line of the legend.
const LEGEND: f64 = 16.0;
const DASHED: &str = r#"stroke-opacity="0.6" stroke-dasharray="4 4""#;

/// The last point of a series, to be named at the right of the plot.
#[derive(Debug)]
pub(in crate::report) struct End<'a> {
    pub(in crate::report) value: Point,
    /// How far the series is moved sideways.
    pub(in crate::report) shift: f64,
    pub(in crate::report) name: &'a str,
    pub(in crate::report) color: &'a str,
    /// Without one a piece of line stands before the name.
    pub(in crate::report) marker: Option<Marker>,
}

/// A canvas with two axes, a legend, and labels that keep out of each other's way.
#[derive(Debug)]
pub(in crate::report) struct Chart {
    pub(in crate::report) canvas: Canvas,
    x: Axis,
    y: Axis,
    placer: Placer,
    labels: Vec<(Point, String, String)>,
    legend: f64,
    plot: Rect,
    height: f64,
}

impl Chart {
    /// An empty chart with its axes drawn.
    pub(in crate::report) fn new(x: Axis, y: Axis) -> Self {
        Self::framed(x, y, PLOT, HEIGHT)
    }

    /// An empty chart for many series, taller and with room at its right for labels as wide as the
    /// longest of `names`, which [`name_ends`](Self::name_ends) writes.
    pub(in crate::report) fn tall<'a>(
        x: Axis,
        y: Axis,
        names: impl Iterator<Item = &'a str>,
    ) -> Self {
        let widest = names.map(|name| text_width(&shortened(name))).fold(0.0, f64::max);
        let right = if widest > 0.0 { WIDTH - widest - 34.0 } else { PLOT.right };
        Self::framed(x, y, Rect { right, bottom: TALL - 46.0, ..PLOT }, TALL)
    }

    fn framed(x: Axis, y: Axis, plot: Rect, height: f64) -> Self {
        let mut chart = Self {
            canvas: Canvas::new(WIDTH, height),
            x,
            y,
            placer: Placer::new(Rect { top: plot.top - 8.0, ..plot }),
            labels: Vec::new(),
            legend: 6.0,
            plot,
            height,
        };
        chart.axes();
        chart
    }

    fn axes(&mut self) {
        for (value, text) in self.y.ticks.clone() {
            let y = self.y_at(value);
            self.canvas.line((self.plot.left, y), (self.plot.right, y), r#"stroke-opacity="0.13""#);
            self.canvas.text((self.plot.left - 7.0, y + 0.35 * FONT), Anchor::End, &text, "");
        }
        // Marks that would run into their neighbours go without a number.
        let mut free = f64::NEG_INFINITY;
        for (value, text) in self.x.ticks.clone() {
            let x = self.x_at(value);
            self.canvas.line(
                (x, self.plot.bottom),
                (x, self.plot.bottom + 4.0),
                r#"stroke-opacity="0.6""#,
            );
            let half = text_width(&text) / 2.0;
            if x - half > free {
                self.canvas.text((x, self.plot.bottom + 18.0), Anchor::Middle, &text, "");
                free = x + half + 4.0;
            }
        }
        self.canvas.line(
            (self.plot.left, self.plot.bottom),
            (self.plot.right, self.plot.bottom),
            r#"stroke-opacity="0.6""#,
        );
        let middle = (self.plot.left + self.plot.right) / 2.0;
        self.canvas.text((middle, self.height - 8.0), Anchor::Middle, &self.x.name, "");
        self.canvas.text((4.0, self.plot.top - 14.0), Anchor::Start, &self.y.name, "");
    }

    fn x_at(&self, value: f64) -> f64 {
        self.plot.left + self.x.at(value) * (self.plot.right - self.plot.left)
    }

    fn y_at(&self, value: f64) -> f64 {
        self.plot.bottom - self.y.at(value) * (self.plot.bottom - self.plot.top)
    }

    /// Where a pair of values lies in the drawing.
    pub(in crate::report) fn at(&self, values: Point) -> Point {
        (self.x_at(values.0), self.y_at(values.1))
    }

    /// A line through pairs of values; those that are not finite are left out.
    pub(in crate::report) fn curve(&mut self, values: &[Point], color: &str, style: &str) {
        let points: Vec<Point> = values
            .iter()
            .filter(|v| v.0.is_finite() && v.1.is_finite())
            .map(|v| self.at(*v))
            .collect();
        for pair in points.windows(2) {
            self.placer.block_line(pair[0], pair[1]);
        }
        self.canvas.path(&points, color, style);
    }

    /// A point of a series, with a tip and, unless empty, a label.
    pub(in crate::report) fn point(
        &mut self,
        values: Point,
        look: (&str, Marker),
        tip: &str,
        label: &str,
    ) {
        if values.0.is_finite() && values.1.is_finite() {
            let at = self.at(values);
            self.placer.block_point(at);
            self.canvas.marker(look.1, at, look.0, tip);
            self.label(at, label, look.0);
        }
    }

    /// The interval of a value, upright (`true`) or level, with its ends drawn where they lie within
    /// the plot. `shift` moves it sideways, in units of the drawing, with its point.
    pub(in crate::report) fn interval(
        &mut self,
        values: Point,
        half: f64,
        upright: bool,
        color: &str,
        shift: f64,
    ) {
        let ends = match upright {
            true => [(values.0, values.1 - half), (values.0, values.1 + half)],
            false => [(values.0 - half, values.1), (values.0 + half, values.1)],
        };
        let all = ends.iter().chain([&values]).all(|end| end.0.is_finite() && end.1.is_finite());
        if !all || half <= 0.0 {
            return;
        }
        let style = r#"stroke-width="1.3" stroke-opacity="0.75""#;
        let clip = |at: Point| {
            let x = at.0.clamp(self.plot.left, self.plot.right);
            (x, at.1.clamp(self.plot.top, self.plot.bottom))
        };
        let whole = ends.map(|end| shifted(self.at(end), shift));
        let drawn = whole.map(clip);
        self.canvas.path(&drawn, color, style);
        for (end, kept) in whole.into_iter().zip(drawn) {
            if end == kept {
                let cap = if upright { (3.0, 0.0) } else { (0.0, 3.0) };
                let cap = [(kept.0 - cap.0, kept.1 - cap.1), (kept.0 + cap.0, kept.1 + cap.1)];
                self.canvas.path(&cap, color, style);
            }
        }
        self.placer.block_line(drawn[0], drawn[1]);
    }

    /// A curve of a series moved sideways as a whole, so that the intervals of several series at the
    /// same place stand beside each other.
    pub(in crate::report) fn shifted_curve(
        &mut self,
        values: &[Point],
        color: &str,
        style: &str,
        shift: f64,
    ) {
        let points: Vec<_> = values.iter().map(|v| shifted(self.at(*v), shift)).collect();
        self.canvas.path(&points, color, style);
    }

    /// A point without a label, moved sideways.
    pub(in crate::report) fn shifted_point(
        &mut self,
        values: Point,
        look: (&str, Marker),
        tip: &str,
        shift: f64,
    ) {
        if values.0.is_finite() && values.1.is_finite() {
            self.canvas.marker(look.1, shifted(self.at(values), shift), look.0, tip);
        }
    }

    /// Names series at the right of the plot, each as near to the height of its last value as the
    /// others allow, with a thin line to it.
    pub(in crate::report) fn name_ends(&mut self, ends: &[End<'_>]) {
        let finite = |end: &&End<'_>| end.value.0.is_finite() && end.value.1.is_finite();
        let mut ends: Vec<_> = ends
            .iter()
            .filter(finite)
            .map(|end| (shifted(self.at(end.value), end.shift), end))
            .collect();
        ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
        let wanted: Vec<f64> = ends.iter().map(|end| end.0.1).collect();
        let bounds = (self.plot.top, self.plot.bottom);
        for ((at, end), y) in ends.iter().zip(apart(&wanted, bounds)) {
            let (edge, x) = (self.plot.right, self.plot.right + 12.0);
            let thin = r#"stroke-width="0.9" stroke-opacity="0.55""#;
            self.canvas.path(&[(at.0 + 6.0, at.1), (edge, at.1), (x, y)], end.color, thin);
            match end.marker {
                Some(marker) => self.canvas.marker(marker, (x + 4.0, y), end.color, ""),
                None => {
                    let line = [(x - 1.0, y), (x + 9.0, y)];
                    self.canvas.path(&line, end.color, r#"stroke-width="2.6""#);
                }
            }
            let text = shortened(end.name);
            self.canvas.text((x + 13.0, y + 0.35 * FONT), Anchor::Start, &text, "");
        }
    }

    /// A dashed line through pairs of values, named in the legend.
    pub(in crate::report) fn dashes(&mut self, values: &[Point], name: &str) {
        let points: Vec<_> = values.iter().map(|v| self.at(*v)).collect();
        for pair in points.windows(2) {
            self.dashed(pair[0], pair[1]);
        }
        let x = self.legend_entry(name, "");
        self.canvas.line((x, LEGEND - 4.0), (x + 20.0, LEGEND - 4.0), DASHED);
    }

    /// A hollow point, for the untuned model, named in the legend.
    pub(in crate::report) fn ring(&mut self, values: Point, tip: &str, name: &str) {
        if values.0.is_finite() && values.1.is_finite() {
            let at = self.at(values);
            self.placer.block_point(at);
            self.canvas.ring(at, tip);
            let x = self.legend_entry(name, "");
            self.canvas.ring((x + 10.0, LEGEND - 4.0), name);
        }
    }

    /// A dashed line across the plot at a height, named in the legend.
    pub(in crate::report) fn level(&mut self, value: f64, name: &str) {
        if value.is_finite() {
            let y = self.y_at(value);
            self.dashed((self.plot.left, y), (self.plot.right, y));
            let x = self.legend_entry(name, "");
            self.canvas.line((x, LEGEND - 4.0), (x + 20.0, LEGEND - 4.0), DASHED);
        }
    }

    /// A dashed line up the plot at a place on the horizontal axis.
    pub(in crate::report) fn upright(&mut self, value: f64) {
        let x = self.x_at(value);
        self.dashed((x, self.plot.bottom), (x, self.plot.top));
    }

    fn dashed(&mut self, from: Point, to: Point) {
        self.canvas.line(from, to, DASHED);
        self.placer.block_line(from, to);
    }

    fn label(&mut self, at: Point, text: &str, color: &str) {
        if !text.is_empty() {
            self.labels.push((at, text.to_owned(), color.to_owned()));
        }
    }

    /// Adds a series to the legend above the plot.
    pub(in crate::report) fn legend(&mut self, name: &str, look: (&str, Option<Marker>)) {
        let (color, marker) = look;
        let x = self.legend_entry(name, r#"font-weight="600""#);
        let y = LEGEND - 4.0;
        self.canvas.path(&[(x, y), (x + 20.0, y)], color, r#"stroke-width="2""#);
        if let Some(marker) = marker {
            self.canvas.marker(marker, (x + 10.0, y), color, "");
        }
    }

    /// Writes a name into the legend and gives the left end of the place for its sign.
    fn legend_entry(&mut self, name: &str, style: &str) -> f64 {
        let x = self.legend;
        self.canvas.text((x + 26.0, LEGEND), Anchor::Start, name, style);
        self.legend = x + 26.0 + 1.15 * text_width(name) + 16.0;
        x
    }

    /// Places the labels, now that everything they must avoid is known, and gives the drawing.
    pub(in crate::report) fn finish(mut self) -> Canvas {
        for (at, text, color) in std::mem::take(&mut self.labels) {
            let place = self.placer.place(at, &text);
            self.canvas.text(place, Anchor::Start, &text, &format!(r#"fill="{color}""#));
        }
        self.canvas
    }
}

fn shifted(at: Point, shift: f64) -> Point {
    (at.0 + shift, at.1)
}

/// A name that leaves most of the figure to the plot.
fn shortened(name: &str) -> String {
    const LONGEST: usize = 17;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['\u{2026}']).collect()
}

/// Ascending heights moved as little as need be to stand [`LABEL_STEP`] apart, within bounds where
/// there is room.
fn apart(wanted: &[f64], (top, bottom): (f64, f64)) -> Vec<f64> {
    // Neighbours that are too near form a group around the mean of what its members want.
    let mut groups: Vec<(f64, usize)> = Vec::new();
    let start = |(middle, n): (f64, usize)| {
        let half = 0.5 * LABEL_STEP * (n - 1) as f64;
        middle.min(bottom - half).max(top + half) - half
    };
    for height in wanted {
        let mut group = (*height, 1);
        while let Some(before) = groups.last().copied() {
            if start(before) + LABEL_STEP * before.1 as f64 <= start(group) {
                break;
            }
            groups.pop();
            let n = before.1 + group.1;
            let sum = before.0 * before.1 as f64 + group.0 * group.1 as f64;
            group = (sum / n as f64, n);
        }
        groups.push(group);
    }
    let heights = groups
        .into_iter()
        .flat_map(|group| (0..group.1).map(move |i| start(group) + LABEL_STEP * i as f64));
    heights.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_apart_and_near_what_they_name() {
        let heights = apart(&[10.0, 100.0, 101.0, 102.0, 180.0, 200.0], (50.0, 200.0));
        assert!(
            heights.windows(2).all(|pair| pair[1] - pair[0] >= LABEL_STEP - 1e-9),
            "{heights:?}"
        );
        assert!(heights[0] >= 50.0 && heights[5] <= 200.0, "{heights:?}");
        assert!((heights[2] - 101.0).abs() < 1e-9, "{heights:?}");
        assert_eq!(apart(&[70.0, 90.0], (50.0, 200.0)), [70.0, 90.0]);
        assert_eq!(shortened("a name that is too long for a label").chars().count(), 17);
    }
}
