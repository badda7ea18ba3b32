//! The training loop, from one optimiser step to a resumable run.

mod best;
mod checkpoint;
mod clip;
mod collapse;
mod config;
mod error;
mod health;
mod learner;
mod lines;
mod metrics;
mod non_finite;
mod observer;
mod optimizer;
mod periodic;
mod resume;
mod schedule;
mod split;
mod state;
mod trainer;

pub use checkpoint::latest_checkpoint;
pub use clip::clip_grad_norm;
pub use collapse::{CollapseMonitor, RoutingCollapse};
pub use config::TrainingConfig;
pub use error::TrainError;
pub use health::CheckpointHealth;
pub use learner::{Learner, LearnerConfig, StepReport};
pub use metrics::MetricsLog;
pub use non_finite::{NonFinite, NonFiniteOrigin, NonFinitePolicy};
pub use observer::{Progress, Silent, TrainObserver};
pub use periodic::{EVAL_LOSS, Measurement, PeriodicEvaluation};
pub use resume::Resume;
pub(crate) use resume::broken_checkpoint;
pub use schedule::{LrSchedulerType, Schedule};
use split::split_gradients;
pub use state::TrainerState;
pub use trainer::{TrainSummary, Trainer};
