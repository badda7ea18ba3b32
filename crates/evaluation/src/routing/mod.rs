//! How a model's routers use their experts.
//!
//! ```text
//! tapes -> RoutingStatistics (sums, mergeable) -> RoutingReport -> JSON, routing_csv, routing_html
//! ```
//!
//! Everything is reduced on the device: a batch costs one read of a small tensor, whatever its
//! number of tokens, and nothing where no tape is recorded. Padding never counts.

mod csv;
mod error;
mod measure;
mod page;
mod report;
mod statistics;
mod usage;

pub use csv::routing_csv;
pub use error::AnalyticsError;
pub use measure::routing_statistics;
pub use page::{routing_html, write_routing};
pub use report::{DEAD_SHARE, GroupReport, RoutingReport, SiteReport};
pub use statistics::RoutingStatistics;
pub use usage::{ExpertUse, SiteShare};
