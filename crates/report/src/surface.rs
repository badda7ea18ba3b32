//! What charts are drawn on: plotters' SVG backend, in tenths of the drawing's units because it
//! places by whole numbers.

use plotters::coord::types::RangedCoordf64;
use plotters::coord::{CoordTranslate, Shift};
use plotters::element::{DashedPathElement, Drawable, PointCollection};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;

use crate::{Axis, Look, Marker};

/// A point of the drawing.
pub(crate) type At = (f64, f64);

/// Size of text, in units of the drawing.
pub(crate) const FONT: f64 = 12.5;
/// Width of every figure. Small, so that text stays readable when a phone shows the figure at full width.
pub(crate) const WIDTH: f64 = 480.0;
/// Height of every figure.
pub(crate) const HEIGHT: f64 = 330.0;
/// Stands for the colour of the page's text.
pub(crate) const INK: RGBColor = RGBColor(0x1f, 0x23, 0x28);

pub(crate) fn css(color: RGBColor) -> String {
    format!("#{:02x}{:02x}{:02x}", color.0, color.1, color.2)
}

/// Width of `text` in the fonts of the report, on the safe side.
pub(crate) fn text_width(text: &str) -> f64 {
    text.chars().count() as f64 * FONT * 0.56
}

/// An upright rectangle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rect {
    pub(crate) left: f64,
    pub(crate) top: f64,
    pub(crate) right: f64,
    pub(crate) bottom: f64,
}

impl Rect {
    pub(crate) fn around(at: At, reach: f64) -> Self {
        Self { left: at.0 - reach, top: at.1 - reach, right: at.0 + reach, bottom: at.1 + reach }
    }
}

/// A picture. Text and everything without a colour of its own takes the colour of the page's text.
#[derive(Clone, Debug, Serialize)]
pub struct Drawing {
    width: f64,
    height: f64,
    pub(crate) body: String,
    tips: Vec<Tip>,
}

/// Text shown where a pointer rests.
#[derive(Clone, Debug, Serialize)]
struct Tip {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
    text: String,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pen {
    pub(crate) color: RGBColor,
    pub(crate) width: f64,
    pub(crate) opacity: f64,
    /// Length of dashes and of gaps.
    pub(crate) dash: Option<(i32, i32)>,
}

/// A line in the colour of text.
pub(crate) fn ink(width: f64, opacity: f64) -> Pen {
    Pen { color: INK, width, opacity, dash: None }
}

/// The line of a reference: dashed, in the colour of text.
pub(crate) fn dashes() -> Pen {
    Pen { dash: Some((4, 4)), ..ink(1.0, 0.6) }
}

pub(crate) struct Surface<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
    tips: Vec<Tip>,
}

fn tenths(value: f64) -> i32 {
    (10.0 * value).round() as i32
}

fn at(point: At) -> (i32, i32) {
    (tenths(point.0), tenths(point.1))
}

/// Text that XML 1.0 can hold.
pub(crate) fn clean(text: &str) -> String {
    text.replace(|c: char| c.is_control() && !matches!(c, '\n' | '\t'), "\u{fffd}")
}

impl<'a> Surface<'a> {
    pub(crate) fn draw(width: f64, height: f64, draw: impl FnOnce(&mut Surface<'_>)) -> Drawing {
        let mut svg = String::new();
        let size = (tenths(width) as u32, tenths(height) as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut surface = Surface { area, tips: Vec::new() };
        draw(&mut surface);
        let tips = std::mem::take(&mut surface.tips);
        drop(surface);
        // The frame is the template's; plotters knows colours by number alone.
        let start = svg.find('\n').map_or(0, |end| end + 1);
        let body = &svg[start..svg.rfind("</svg>").unwrap_or(svg.len())];
        let body = body.replace(&css(INK).to_uppercase(), "currentColor");
        Drawing { width, height, body, tips }
    }

    /// Adds an element. Drawing into a string does not fail.
    fn add<'e, E>(&self, element: &'e E)
    where
        &'e E: PointCollection<'e, (i32, i32)>,
        E: Drawable<SVGBackend<'a>>,
    {
        let _ = self.area.draw(element);
    }

    /// A line through points.
    pub(crate) fn line(&self, points: &[At], pen: Pen) {
        let points: Vec<_> = points.iter().map(|point| at(*point)).collect();
        let style = pen.color.mix(pen.opacity).stroke_width(tenths(pen.width) as u32);
        match pen.dash {
            _ if points.len() < 2 => {}
            Some((dash, gap)) => {
                self.add(&DashedPathElement::new(points, 10 * dash, 10 * gap, style))
            }
            None => self.add(&PathElement::new(points, style)),
        }
    }

    /// A filled rectangle.
    pub(crate) fn bar(&self, rect: Rect, color: RGBColor, opacity: f64) {
        let corners = [at((rect.left, rect.top)), at((rect.right, rect.bottom))];
        self.add(&Rectangle::new(corners, color.mix(opacity).filled()));
    }

    /// A data point.
    pub(crate) fn marker(&self, look: Look, point: At) {
        let fill = look.color.filled();
        let polygon = |corners: &[At]| {
            let moved = corners.iter().map(|corner| at((point.0 + corner.0, point.1 + corner.1)));
            self.add(&Polygon::new(moved.collect::<Vec<_>>(), fill));
        };
        match look.marker {
            Marker::Circle => self.add(&Circle::new(at(point), 42, fill)),
            Marker::Square => polygon(&[(-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)]),
            Marker::Triangle => polygon(&[(0.0, -5.0), (4.8, 3.8), (-4.8, 3.8)]),
            Marker::Diamond => polygon(&[(0.0, -5.4), (5.4, 0.0), (0.0, 5.4), (-5.4, 0.0)]),
            Marker::Ring => {
                self.add(&Circle::new(at(point), 44, look.color.mix(0.1).filled()));
                self.add(&Circle::new(at(point), 44, look.color.stroke_width(15)));
            }
            Marker::Cross => self.add(&Cross::new(at(point), 42, look.color.stroke_width(25))),
        }
    }

    /// Text in the colour of text.
    pub(crate) fn text(&self, point: At, side: HPos, text: &str) {
        self.styled(point, side, text, (FONT, false, INK));
    }

    /// Text whose middle is at the height of `point`, of a size, bold or not, of a colour.
    pub(crate) fn styled(
        &self,
        point: At,
        side: HPos,
        text: &str,
        (size, bold, color): (f64, bool, RGBColor),
    ) {
        let weight = if bold { FontStyle::Bold } else { FontStyle::Normal };
        // plotters takes 1.24 for the height of a line over the size of its font.
        let font = FontDesc::new(FontFamily::Name("inherit"), 12.4 * size, weight);
        let style = font.color(&color).pos(Pos::new(side, VPos::Center));
        self.add(&Text::new(clean(text), at(point), style));
    }

    /// Shows text where a pointer rests on a place.
    pub(crate) fn tip(&mut self, rect: Rect, text: &str) {
        if !text.is_empty() {
            let (width, height) = (rect.right - rect.left, rect.bottom - rect.top);
            let round = |value: f64| (10.0 * value).round() / 10.0;
            let [x, y, width, height] = [rect.left, rect.top, width, height].map(round);
            self.tips.push(Tip { x, y, width, height, text: clean(text) });
        }
    }
}

/// A rectangle of the drawing in which values have places.
pub(crate) struct Plot<'a> {
    pub(crate) rect: Rect,
    axes: (&'a Axis, &'a Axis),
    coordinates: Cartesian2d<RangedCoordf64, RangedCoordf64>,
}

impl<'a> Plot<'a> {
    pub(crate) fn new(x: &'a Axis, y: &'a Axis, rect: Rect) -> Self {
        let level = tenths(rect.left)..tenths(rect.right);
        let upright = tenths(rect.bottom)..tenths(rect.top);
        let coordinates = Cartesian2d::new(x.range(), y.range(), (level, upright));
        Self { rect, axes: (x, y), coordinates }
    }

    /// Where a pair of values lies.
    pub(crate) fn at(&self, values: At) -> At {
        // Far outside of the plot, plotters' whole numbers would overflow.
        let near = |axis: &Axis, value: f64| {
            let (range, value) = (axis.range(), axis.place(value));
            let far = 9.0 * (range.end - range.start);
            value.clamp(range.start - far, range.end + far)
        };
        let (x, y) = (near(self.axes.0, values.0), near(self.axes.1, values.1));
        let (x, y) = self.coordinates.translate(&(x, y));
        (f64::from(x) / 10.0, f64::from(y) / 10.0)
    }

    /// Draws marks, grid and names: that of the upright axis so far above it.
    pub(crate) fn draw_axes(&self, surface: &Surface<'_>, above: f64) {
        let Rect { left, top, right, bottom } = self.rect;
        let (x, y) = self.axes;
        for (value, text) in &y.ticks {
            let height = self.at((f64::NAN, *value)).1;
            surface.line(&[(left, height), (right, height)], ink(1.0, 0.13));
            surface.text((left - 7.0, height), HPos::Right, text);
        }
        // Marks that would run into their neighbours go without a number.
        let mut free = f64::NEG_INFINITY;
        for (value, text) in &x.ticks {
            let place = self.at((*value, f64::NAN)).0;
            surface.line(&[(place, bottom), (place, bottom + 4.0)], ink(1.0, 0.6));
            let half = text_width(text) / 2.0;
            if place - half > free {
                surface.text((place, bottom + 14.0), HPos::Center, text);
                free = place + half + 4.0;
            }
        }
        surface.line(&[(left, bottom), (right, bottom)], ink(1.0, 0.6));
        surface.text(((left + right) / 2.0, bottom + 34.0), HPos::Center, &x.name);
        surface.text((4.0, top - above), HPos::Left, &y.name);
    }
}
