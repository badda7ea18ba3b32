use std::fmt::Write;

use super::Point;
use crate::report::format::escape;

/// Size of text, in units of the drawing.
pub(in crate::report) const FONT: f64 = 12.5;

/// Which end of a text its position names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Anchor {
    Start,
    Middle,
    End,
}

/// Shape of a data point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::report) enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
}

/// An SVG in the making. Text and everything without a colour of its own takes the colour of the page's text.
#[derive(Debug)]
pub(in crate::report) struct Canvas {
    width: f64,
    height: f64,
    body: String,
}

/// Width of `text` in the fonts of the report, on the safe side.
pub(in crate::report) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * FONT * 0.56
}

impl Canvas {
    pub(in crate::report) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// Adds an element; `attributes` must be escaped where they need to be.
    fn element(&mut self, name: &str, attributes: &str, tip: &str) {
        // Writing to a string does not fail.
        let _ = if tip.is_empty() {
            writeln!(self.body, "<{name} {attributes}/>")
        } else {
            writeln!(self.body, "<{name} {attributes}><title>{}</title></{name}>", escape(tip))
        };
    }

    /// A straight line; `style` is further attributes.
    pub(in crate::report) fn line(&mut self, from: Point, to: Point, style: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let at = format!(
            r#"x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="currentColor" {style}"#
        );
        self.element("line", &at, "");
    }

    /// A line through points.
    pub(in crate::report) fn path(&mut self, points: &[Point], color: &str, style: &str) {
        if points.len() > 1 {
            let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            let at = format!(
                r#"points="{}" fill="none" stroke="{color}" stroke-linejoin="round" {style}"#,
                points.join(" ")
            );
            self.element("polyline", &at, "");
        }
    }

    /// A filled rectangle with an optional tip.
    pub(in crate::report) fn bar(&mut self, corner: Point, size: Point, style: &str, tip: &str) {
        let ((x, y), (w, h)) = (corner, size);
        let at = format!(
            r#"x="{x:.1}" y="{y:.1}" width="{:.1}" height="{:.1}" {style}"#,
            w.max(0.0),
            h.max(0.0)
        );
        self.element("rect", &at, tip);
    }

    /// A data point with an optional tip.
    pub(in crate::report) fn marker(&mut self, marker: Marker, at: Point, color: &str, tip: &str) {
        let (x, y) = at;
        let polygon = |corners: &[Point]| {
            let corners: Vec<_> =
                corners.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
            format!(r#"points="{}" fill="{color}""#, corners.join(" "))
        };
        match marker {
            Marker::Circle => {
                let at = format!(r#"cx="{x:.1}" cy="{y:.1}" r="4.2" fill="{color}""#);
                self.element("circle", &at, tip);
            }
            Marker::Square => {
                let corners = [(-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)];
                self.element("polygon", &polygon(&corners), tip);
            }
            Marker::Triangle => {
                self.element("polygon", &polygon(&[(0.0, -5.0), (4.8, 3.8), (-4.8, 3.8)]), tip);
            }
            Marker::Diamond => {
                let corners = [(0.0, -5.4), (5.4, 0.0), (0.0, 5.4), (-5.4, 0.0)];
                self.element("polygon", &polygon(&corners), tip);
            }
        }
    }

    /// A hollow point, for what is not a member of any series.
    pub(in crate::report) fn ring(&mut self, at: Point, tip: &str) {
        let (x, y) = at;
        let at = format!(
            "cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.6\" fill=\"currentColor\" fill-opacity=\"0.08\" \
             stroke=\"currentColor\" stroke-width=\"1.6\""
        );
        self.element("circle", &at, tip);
    }

    /// A hollow point of a series.
    pub(in crate::report) fn hollow(&mut self, at: Point, color: &str, tip: &str) {
        let (x, y) = at;
        let at = format!(
            "cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.2\" fill=\"{color}\" fill-opacity=\"0.12\" \
             stroke=\"{color}\" stroke-width=\"1.4\""
        );
        self.element("circle", &at, tip);
    }

    /// Text on the base line at `at`; `style` is further attributes.
    pub(in crate::report) fn text(&mut self, at: Point, anchor: Anchor, text: &str, style: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let (x, y) = at;
        let fill = if style.contains("fill=") { "" } else { r#"fill="currentColor""# };
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" {fill} {style}>{}</text>"#,
            escape(text)
        );
    }

    /// The drawing for use within a page, whose text colour it takes.
    pub(in crate::report) fn inline(&self, title: &str) -> String {
        self.render(title, "", "")
    }

    /// The drawing as a file: with a size, a text colour, and a background of its own.
    pub(in crate::report) fn standalone(&self, title: &str) -> String {
        let (w, h) = (self.width, self.height);
        let frame = format!(
            r##"<rect x="0.5" y="0.5" width="{:.1}" height="{:.1}" rx="6" fill="#ffffff" stroke="#d0d7de"/>"##,
            w - 1.0,
            h - 1.0
        );
        let size = format!(r##" width="{:.0}" height="{:.0}" color="#1f2328""##, 1.5 * w, 1.5 * h);
        self.render(title, &size, &frame)
    }

    /// The drawing as a sign within a line of text, which says the same.
    pub(in crate::report) fn sign(&self) -> String {
        let (w, h) = (self.width, self.height);
        let body = self.body.trim_end();
        format!(r#"<svg class="sign" viewBox="0 0 {w:.0} {h:.0}" aria-hidden="true">{body}</svg>"#)
    }

    fn render(&self, title: &str, attributes: &str, background: &str) -> String {
        let title = escape(title);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {:.0}\"{attributes} role=\"img\" \
             aria-label=\"{title}\" font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, \
             sans-serif\" font-size=\"{FONT}\">\n{background}\n{}</svg>\n",
            self.width, self.height, self.body
        )
    }
}
