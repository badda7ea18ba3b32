//! The report of the demonstration: a table for the terminal, `results.json`, and one self-contained page.
//!
//! Methods are compared at equal tasks learned. A method that learns less also forgets less, so knowledge kept
//! means little by itself; [`headline`] reads it off each method's curve at a level of learning that all reach.

mod demo;
mod figures;
mod files;
mod format;
mod headline;
mod html;
mod parts;
mod routing_files;
mod routing_page;
mod row;
pub mod study;
mod svg;
mod table;

#[cfg(test)]
mod tests;

pub use demo::DemoReport;
pub use figures::{Series, forgetting_svg, lines_svg, loss_svg, plane_svg, routing_svg, text_svg};
pub(crate) use files::write_text;
pub use files::{read_results, write_report, write_results, write_svg};
pub(crate) use format::count;
pub use headline::{Comparison, compare, headline};
pub(crate) use headline::{common_level, knowledge_at};
pub use html::report_html;
pub use parts::{LossCurve, RoutingShares, Setting};
pub use routing_files::write_routing;
pub use routing_page::routing_html;
pub(crate) use row::number;
pub use row::{BASE, ResultRow};
pub use table::terminal_table;
