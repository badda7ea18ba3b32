//! What is done with adapters after training: folding them into the weights and taking them out
//! again.

mod merge;
mod record;
mod unmerge;

pub use merge::{FixedRouting, fixed_routing, mean_routing, merge_adapters};
pub use record::{MERGE_RECORD_FILE, MergeRecord};
pub use unmerge::unmerge_adapters;
