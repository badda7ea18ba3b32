//! What is done with adapters after training: folding them into the weights ([`merge_adapters`]) and
//! taking them out again ([`unmerge_adapters`]), taking experts out of mixtures ([`extract_expert`],
//! [`extract_mixture`]), making mixtures of single adapters ([`mix_adapters`]) and training their
//! routers alone ([`train_router_only`]), and Burn's own LoRA ([`from_burn_lora`],
//! [`to_burn_lora`]).
//!
//! Adapters are [`StoredAdapter`](moe_adapter::StoredAdapter)s or models that carry them; which
//! layout a folder has is the business of `adapter-formats`.

mod burn_lora;
mod error;
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
pub use error::ArithmeticError;
pub use extract::{extract_expert, extract_mixture};
pub use merge::{FixedRouting, fixed_routing, mean_routing, merge_adapters};
pub use mix::{Mixed, mix_adapters};
pub use mix_options::MixOptions;
pub use record::{MERGE_RECORD_FILE, MergeRecord};
pub use router_only::train_router_only;
pub use unmerge::unmerge_adapters;
