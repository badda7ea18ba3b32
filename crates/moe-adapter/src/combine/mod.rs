//! What is done with adapters after training: folding them into the weights and taking them out
//! again, taking experts out of mixtures, making mixtures of single adapters, and Burn's own LoRA.

mod burn_lora;
mod experts;
mod extract;
mod matrix;
mod merge;
mod mix;
mod mix_options;
mod part;
mod record;
mod router_only;
mod sizes;
mod unmerge;

pub use burn_lora::{from_burn_lora, to_burn_lora};
pub use extract::{extract_expert, extract_mixture};
pub use merge::{FixedRouting, fixed_routing, mean_routing, merge_adapters};
pub use mix::{Mixed, mix_adapters};
pub use mix_options::MixOptions;
pub use record::{MERGE_RECORD_FILE, MergeRecord};
pub use router_only::train_router_only;
pub use unmerge::unmerge_adapters;
