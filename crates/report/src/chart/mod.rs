//! Series over two axes.

mod draw;
mod placer;

use crate::{Axis, Look};

/// How the line through the points of a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stroke {
    /// Width; 0 for points alone.
    pub width: f64,
    /// From 0 to 1.
    pub opacity: f64,
    /// Whether it is made of dots, for what was not measured or not completed.
    pub dotted: bool,
}

impl Stroke {
    /// An unbroken line.
    pub fn line(width: f64) -> Self {
        Self { width, opacity: 1.0, dotted: false }
    }

    /// A dotted line.
    pub fn dotted(width: f64) -> Self {
        Self { dotted: true, ..Self::line(width) }
    }

    /// The same, fainter.
    pub fn faint(self) -> Self {
        Self { opacity: 0.7, ..self }
    }
}

/// Where the name of a series stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// Nowhere.
    Not,
    /// Above the plot.
    Above,
    /// At the right of the plot, as near to the series' end as the others allow. Names of more than
    /// 17 characters are cut.
    AtEnd,
}

/// A point of a series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Point {
    /// Its values; a point of which one is not finite is left out.
    pub at: (f64, f64),
    /// Half of the intervals of both values; 0 for none.
    pub half: (f64, f64),
    /// Whether it has a mark.
    pub marked: bool,
    /// What is shown where a pointer rests on it.
    pub tip: String,
    /// What is written beside it, where it overlaps nothing.
    pub label: String,
}

impl Point {
    /// A point of a line.
    pub fn at(x: f64, y: f64) -> Self {
        Self { at: (x, y), ..Self::default() }
    }

    /// A point with a mark, a tip and a label.
    pub fn marked(at: (f64, f64), tip: String, label: String) -> Self {
        Self { at, marked: true, tip, label, ..Self::default() }
    }
}

/// A line, points, or both.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its colour and shape.
    pub look: Look,
    /// Its points, from left to right.
    pub points: Vec<Point>,
    /// Its line.
    pub stroke: Stroke,
    /// Where its name stands.
    pub named: Named,
}

/// A dashed line or a ring in the colour of text, to compare with, named above the
/// plot.
#[derive(Clone, Debug)]
pub enum Rule {
    /// Across the plot at a height.
    Level(f64, String),
    /// Up the plot at a place.
    Upright(f64),
    /// Through pairs of values.
    Through(Vec<(f64, f64)>, String),
    /// A ring at a pair of values, with a tip.
    Ring((f64, f64), String, String),
}

/// Series over two axes, with labels that keep out of each other's way.
#[derive(Clone, Debug)]
pub struct Chart {
    /// The horizontal axis.
    pub x: Axis,
    /// The upright axis.
    pub y: Axis,
    /// The series; later ones are drawn over earlier ones.
    pub series: Vec<Series>,
    /// What they are compared with.
    pub rules: Vec<Rule>,
    /// Whether it is higher than usual, for many series.
    pub tall: bool,
    /// Whether series stand beside each other at each mark of the horizontal axis, so that their
    /// intervals can be told apart.
    pub beside: bool,
}

impl Chart {
    /// An empty chart.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, series: Vec::new(), rules: Vec::new(), tall: false, beside: false }
    }

    /// An empty chart for many series.
    pub fn tall(x: Axis, y: Axis) -> Self {
        Self { tall: true, ..Self::new(x, y) }
    }
}
