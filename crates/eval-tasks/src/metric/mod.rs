//! What is measured of a document, and how the values of all documents become one number with its
//! standard error.

mod aggregation;
mod classification;
mod correlation;
mod exact_match;
mod group;
mod kind;
mod number;
mod squad;
mod standard_error;
mod value;

pub use aggregation::Aggregation;
pub use exact_match::ExactMatch;
pub use group::{GroupScore, group_score};
pub use kind::Metric;
pub(crate) use number::number_match;
pub(crate) use squad::{squad_exact_match, squad_f1};
pub use value::MetricValue;
