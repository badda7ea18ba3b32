//! What is done with adapters after training: folding them into the weights and taking them out
//! again, taking experts out of mixtures and making mixtures of single adapters.

mod experts;
mod extract;
mod matrix;
mod merge;
mod mix;
mod part;
mod record;
mod router_only;
mod sizes;
mod unmerge;

pub use extract::{extract_expert, extract_mixture};
pub use merge::{FixedRouting, fixed_routing, mean_routing, merge_adapters};
pub use mix::{MixOptions, Mixed, mix_adapters};
pub use record::{MERGE_RECORD_FILE, MergeRecord};
pub use router_only::train_router_only;
pub use unmerge::unmerge_adapters;
