//! What is left of what a model knew: two evaluations on the same documents, compared pair by pair.
//!
//! ```text
//! folders of evaluations -> Retention (rows by task and group) -> table, JSON, page
//! ```

mod compare;
mod error;
mod page;
mod paired;
mod row;
mod table;

pub use compare::compare;
pub use error::RetentionError;
pub use page::retention_page;
pub use paired::{PairedTest, exact_mcnemar, paired_t};
pub use row::{Retention, RetentionRow};
pub use table::retention_table;
