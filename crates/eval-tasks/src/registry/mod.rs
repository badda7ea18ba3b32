//! Tasks by name: shipped ones, those in folders of the user, groups and tags.

mod entry;
mod index;
mod llm_adapters;
mod mmlu;
mod select;
mod shipped;
mod source;

pub use entry::TaskListing;
pub use index::TaskIndex;
pub use select::{Group, Selection};
