//! The report of the demonstration: a table for the terminal, `results.json`, and one self-contained page.
//!
//! Methods are compared at equal tasks learned. A method that learns less also forgets less, so knowledge kept
//! means little by itself; [`headline`] reads it off each method's curve at a level of learning that all reach.

mod amounts;
mod files;
mod headline;
mod html;
mod losses;
mod plane;
mod routing;
mod table;

#[cfg(test)]
mod tests;

pub use files::{read_results, write_plane, write_report, write_results};
pub use headline::{Comparison, compare, headline};
pub use html::report_html;
pub(crate) use losses::thin;
pub use table::terminal_table;
