use super::{Anchor, Axis, Canvas, FONT, Marker, Placer, Point, Rect, text_width};

/// Width of every figure. Small, so that text stays readable when a phone shows the figure at full width.
pub(in crate::report) const WIDTH: f64 = 480.0;
/// Height of every figure.
pub(in crate::report) const HEIGHT: f64 = 330.0;

const PLOT: Rect = Rect { left: 46.0, top: 54.0, right: WIDTH - 18.0, bottom: HEIGHT - 46.0 };

/// Base line of the legend.
const LEGEND: f64 = 16.0;
const DASHED: &str = r#"stroke-opacity="0.6" stroke-dasharray="4 4""#;

/// A canvas with two axes, a legend, and labels that keep out of each other's way.
#[derive(Debug)]
pub(in crate::report) struct Chart {
    pub(in crate::report) canvas: Canvas,
    x: Axis,
    y: Axis,
    placer: Placer,
    labels: Vec<(Point, String, String)>,
    legend: f64,
}

impl Chart {
    /// An empty chart with its axes drawn.
    pub(in crate::report) fn new(x: Axis, y: Axis) -> Self {
        let mut chart = Self {
            canvas: Canvas::new(WIDTH, HEIGHT),
            x,
            y,
            placer: Placer::new(Rect { top: PLOT.top - 8.0, ..PLOT }),
            labels: Vec::new(),
            legend: 6.0,
        };
        chart.axes();
        chart
    }

    fn axes(&mut self) {
        for (value, text) in self.y.ticks.clone() {
            let y = self.y_at(value);
            self.canvas.line((PLOT.left, y), (PLOT.right, y), r#"stroke-opacity="0.13""#);
            self.canvas.text((PLOT.left - 7.0, y + 0.35 * FONT), Anchor::End, &text, "");
        }
        // Marks that would run into their neighbours go without a number.
        let mut free = f64::NEG_INFINITY;
        for (value, text) in self.x.ticks.clone() {
            let x = self.x_at(value);
            self.canvas.line((x, PLOT.bottom), (x, PLOT.bottom + 4.0), r#"stroke-opacity="0.6""#);
            let half = text_width(&text) / 2.0;
            if x - half > free {
                self.canvas.text((x, PLOT.bottom + 18.0), Anchor::Middle, &text, "");
                free = x + half + 4.0;
            }
        }
        self.canvas.line(
            (PLOT.left, PLOT.bottom),
            (PLOT.right, PLOT.bottom),
            r#"stroke-opacity="0.6""#,
        );
        let middle = (PLOT.left + PLOT.right) / 2.0;
        self.canvas.text((middle, HEIGHT - 8.0), Anchor::Middle, &self.x.name, "");
        self.canvas.text((4.0, PLOT.top - 14.0), Anchor::Start, &self.y.name, "");
    }

    fn x_at(&self, value: f64) -> f64 {
        PLOT.left + self.x.at(value) * (PLOT.right - PLOT.left)
    }

    fn y_at(&self, value: f64) -> f64 {
        PLOT.bottom - self.y.at(value) * (PLOT.bottom - PLOT.top)
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
            self.dashed((PLOT.left, y), (PLOT.right, y));
            let x = self.legend_entry(name, "");
            self.canvas.line((x, LEGEND - 4.0), (x + 20.0, LEGEND - 4.0), DASHED);
        }
    }

    /// A dashed line up the plot at a place on the horizontal axis.
    pub(in crate::report) fn upright(&mut self, value: f64) {
        let x = self.x_at(value);
        self.dashed((x, PLOT.bottom), (x, PLOT.top));
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
