use plotters::style::RGBColor;

use crate::surface::{INK, Surface};

/// Series colours: apart for all common kinds of colour blindness, and readable on white and on
/// near-black.
const PALETTE: [RGBColor; 6] = [
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x1f, 0x83, 0xc4),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xb6, 0x5c, 0x93),
    RGBColor(0xa8, 0x7b, 0x00),
    RGBColor(0x7b, 0x6f, 0xd0),
];

/// Shape of a data point: shapes tell series apart where colours do not, as in print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A filled circle.
    Circle,
    /// A filled square.
    Square,
    /// A filled triangle.
    Triangle,
    /// A filled diamond.
    Diamond,
    /// A hollow circle, for what is not a member of any series or not certain.
    Ring,
    /// A cross, for what came to a bad end.
    Cross,
}

/// Colour and shape by which a series is known in every figure and table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look {
    pub(crate) color: RGBColor,
    pub(crate) marker: Marker,
    /// Whether its lines are dashed, because its colour is another's too.
    pub(crate) dashed: bool,
}

impl Look {
    /// That of the series of a place, counted from 0.
    pub fn of(index: usize) -> Self {
        use Marker::{Circle, Diamond, Square, Triangle};
        Self {
            color: PALETTE[index % PALETTE.len()],
            marker: [Square, Circle, Triangle, Diamond][index % 4],
            dashed: !(index / PALETTE.len()).is_multiple_of(2),
        }
    }

    /// A ring in the colour of text, for what the series are compared with.
    pub fn reference() -> Self {
        Self { color: INK, marker: Marker::Ring, dashed: false }
    }

    /// The same colour with another shape.
    pub fn with(self, marker: Marker) -> Self {
        Self { marker, ..self }
    }

    /// The shape as a sign within a line of text, as SVG.
    pub(crate) fn sign(&self) -> String {
        let body = Surface::draw(12.0, 12.0, |surface| surface.marker(*self, (6.0, 6.0))).body;
        let body = body.replace('\n', "");
        format!(r#"<svg class="sign" viewBox="0 0 120 120" aria-hidden="true">{body}</svg>"#)
    }
}
