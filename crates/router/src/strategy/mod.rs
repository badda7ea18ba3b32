//! One file for each strategy: its configuration, and what it makes of the logits.

mod adamole;
mod dense;
mod dynmole;
mod expert_choice;
mod noisy_top_k;
mod sigmoid;
mod sliding_cluster;
mod sparsegen;
mod switch;
mod top_k;
mod top_p;
mod uniform;

pub use adamole::{Adamole, AdamoleRouter, AdamoleRouterConfig};
pub use dense::{Dense, DenseRouter, DenseRouterConfig};
pub use dynmole::{Dynmole, DynmoleRouter, DynmoleRouterConfig, Entropy};
pub use expert_choice::{ExpertChoice, ExpertChoiceRouter, ExpertChoiceRouterConfig};
pub use noisy_top_k::{NoisyTopK, NoisyTopKRouter, NoisyTopKRouterConfig};
pub use sigmoid::{Sigmoid, SigmoidRouter, SigmoidRouterConfig};
pub use sliding_cluster::{
    Assignment, Distance, SlidingCluster, SlidingClusterRouter, SlidingClusterRouterConfig,
    Yielding,
};
pub use sparsegen::{Lambda, LambdaNetwork, Sparsegen, SparsegenRouter, SparsegenRouterConfig};
pub use switch::{Switch, SwitchRouter, SwitchRouterConfig};
pub use top_k::{TopK, TopKRouter, TopKRouterConfig};
pub use top_p::{TopP, TopPRouter, TopPRouterConfig};
pub use uniform::UniformRouter;
