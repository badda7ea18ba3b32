//! How well a model does, and how its routers use their experts.
//!
//! ```text
//! samples -> evaluate -> Evaluation (loss, perplexity)
//! records -> ExactMatch -> share of right answers
//! samples -> routing_statistics -> RoutingReport
//! ```
//!
//! Everything here takes a model that is not on an autodiff device (`model.valid()`).

pub mod classification;
mod error;
mod evaluate;
mod exact_match;
mod loss;
pub mod results;
pub mod retention;
pub mod routing;
pub mod run;
pub mod scoring;

pub use error::EvaluationError;
pub use evaluate::{Evaluation, batch_loss, evaluate};
pub use exact_match::ExactMatch;
pub use loss::cross_entropy;
