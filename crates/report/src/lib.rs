//! Pages and charts: what results look like, whatever they are results of.
//!
//! ```text
//! Chart, Heat, Intervals, Bars -> Drawing -> Figure ┐
//!                           Cell -> Row -> Table    ├-> Section -> Page -> HTML
//!                                    sentences      ┘
//! ```
//!
//! Those who have results put them into these; nothing here knows what a task or a method is. A page
//! is one file that needs nothing else, follows the light or dark setting of the system, fits a
//! phone, and prints. plotters draws the charts and minijinja, which escapes what it is given, fills
//! the templates in `templates/`. What plotters lacks is here: labels that keep out of each other's
//! way ([`Chart`]), names at the ends of lines, tips, and the colour of the page's text.
//!
//! ```
//! use report::{Cell, Figure, Interval, IntervalRow, Intervals, Look, Page, Row, Section, Table};
//!
//! let change = Interval { mean: -0.04, half: Some(0.03), clear: true, tip: "-0.04".to_owned() };
//! let chart = Intervals {
//!     panels: vec!["accuracy".to_owned()],
//!     rows: vec![IntervalRow { name: "piqa".to_owned(), look: Look::of(0), values: vec![Some(change)] }],
//!     limits: (-1.0, 1.0),
//! };
//! let table = Table::new("tasks", "Scores by task", &["task", "before", "after"])
//!     .sortable()
//!     .row(vec![Cell::text("piqa"), Cell::number(0.71, "0.71"), Cell::number(0.67, "0.67")]);
//! let page = Page {
//!     title: "What was kept".to_owned(),
//!     findings: vec!["One of one task is answered worse.".to_owned()],
//!     sections: vec![Section {
//!         table: Some(table),
//!         figures: vec![Figure::new("Differences", "With 95 % intervals.", chart.draw())],
//!         ..Section::new("tasks", "Tasks")
//!     }],
//! };
//! assert!(page.html().unwrap().contains("One of one task"));
//! ```

mod axis;
mod bars;
mod chart;
mod figure;
pub mod format;
mod heat;
mod intervals;
mod lines;
mod look;
mod page;
mod surface;
mod table;

pub use axis::Axis;
pub use bars::Bars;
pub use chart::{Chart, Named, Point, Rule, Series, Stroke};
pub use figure::Figure;
pub use heat::{Heat, Panel};
pub use intervals::{Interval, IntervalRow, Intervals};
pub use lines::{Lines, lines_svg};
pub use look::{Look, Marker};
pub use page::{Page, PageError, Section, render};
pub use surface::Drawing;
pub use table::{Cell, Row, Table};
