//! Just enough drawing for the report's figures.

mod axis;
mod canvas;
mod chart;
mod placer;

pub(super) use axis::Axis;
pub(super) use canvas::{Anchor, Canvas, FONT, Marker, text_width};
pub(super) use chart::{Chart, End, HEIGHT, WIDTH};
pub(super) use placer::{Placer, Rect};

/// A point of the drawing.
pub(super) type Point = (f64, f64);

/// Series colours: apart for all common kinds of colour blindness, and readable on white and on near-black.
const PALETTE: [&str; 6] = ["#d55e00", "#1f83c4", "#009e73", "#b65c93", "#a87b00", "#7b6fd0"];

/// Look of a series: shapes tell series apart where colours do not, as in print.
pub(super) fn look(index: usize) -> (&'static str, Marker) {
    const MARKERS: [Marker; 4] =
        [Marker::Square, Marker::Circle, Marker::Triangle, Marker::Diamond];
    (PALETTE[index % PALETTE.len()], MARKERS[index % MARKERS.len()])
}
