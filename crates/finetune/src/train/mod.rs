//! The training loop, from one optimiser step to a resumable run.

mod backward;
mod best;
mod checkpoint;
mod clip;
mod collapse;
mod config;
mod error;
mod learner;
mod metrics;
mod periodic;
mod recompute;

mod observer;
mod schedule;
mod split;
mod trainer;

pub use checkpoint::{TrainerState, latest_checkpoint};
pub use clip::clip_grad_norm;
pub use collapse::{CollapseMonitor, RoutingCollapse};
pub use config::TrainingConfig;
pub use error::TrainError;
pub use learner::{Learner, LearnerConfig, StepReport};
pub use metrics::MetricsLog;
pub use observer::{Progress, Silent, TrainObserver};
pub use periodic::{EVAL_LOSS, Measurement, PeriodicEvaluation};
pub use recompute::{Recompute, UnknownRecompute};
pub use schedule::{LrSchedulerType, Schedule};
use split::split_gradients;
pub use trainer::{TrainSummary, Trainer};
