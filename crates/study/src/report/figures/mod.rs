//! The figures of the report. Each comes as a file of its own or, within the page, takes the page's colours.

mod amounts;
mod curves;
mod heat;
mod lines;
mod plane;
mod routing;

use super::{
    DemoReport,
    svg::{self, Canvas, Marker},
};

pub(super) use amounts::{forgetting, text};
pub(super) use curves::{losses, thin};
pub(super) use heat::{Panel, heat};
pub use lines::{Series, lines_svg};
pub(super) use plane::plane;
pub(super) use routing::routing;

/// A drawing and what it shows.
pub(super) struct Figure {
    pub(super) title: String,
    pub(super) caption: String,
    pub(super) canvas: Canvas,
}

impl Figure {
    pub(super) fn file(&self) -> String {
        self.canvas.standalone(&self.title)
    }
}

/// Learning against forgetting: knowledge kept over tasks learned, a line per method, as an SVG file.
pub fn plane_svg(report: &DemoReport) -> String {
    plane(report).file()
}

/// Knowledge kept over the amount of tuning data, as an SVG file.
pub fn forgetting_svg(report: &DemoReport) -> String {
    forgetting(report).file()
}

/// Loss on general text over the amount of tuning data, as an SVG file.
pub fn text_svg(report: &DemoReport) -> String {
    text(report).file()
}

/// Routing share per expert for each method at its largest amount of data, as SVG files.
pub fn routing_svg(report: &DemoReport) -> Vec<String> {
    routing(report).iter().map(Figure::file).collect()
}

/// Training losses, those of pre-training and those of tuning apart, as SVG files.
pub fn loss_svg(report: &DemoReport) -> Vec<String> {
    losses(report).iter().map(Figure::file).collect()
}

/// Colour and shape of a method, the same in all figures.
pub(super) fn method_look(report: &DemoReport, method: &str) -> (&'static str, Marker) {
    let methods = report.methods();
    svg::look(methods.iter().position(|m| *m == method).unwrap_or(methods.len()))
}
