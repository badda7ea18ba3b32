//! The training loop, from one optimiser step to a resumable run.

mod best;
mod causal;
mod checkpoint;
mod clip;
mod collapse;
mod config;
mod error;
mod gradient_sum;
mod health;
mod labelled;
mod learner;
mod learner_checkpoints;
mod lines;
mod log;
mod non_finite;
mod numbers_found;
mod observer;
mod optimizer;
mod periodic;
mod plateau;
mod rank_buckets;
mod rank_sum;
mod recompute;
mod resume;
mod running_state;
mod schedule;
mod share;
mod source;
mod state;
mod task;
mod together;
mod trainer;

pub use causal::CausalTask;
pub(crate) use checkpoint::check_adapter;
pub use checkpoint::latest_checkpoint;
pub use clip::clip_grad_norm;
pub use collapse::{CollapseMonitor, RoutingCollapse};
pub use config::TrainingConfig;
pub use error::TrainError;
pub use health::CheckpointHealth;
pub use labelled::{
    ImageSample, ImageTask, LabelledBatch, TextSample, TextTask, label_loss, probabilities,
};
pub use learner::{Learner, LearnerConfig, StepReport};
pub use learner_checkpoints::LearnerCheckpoints;
pub use log::{MetricsLog, ReportTo};
pub use non_finite::{NonFinite, NonFiniteOrigin, NonFinitePolicy};
pub use observer::{Progress, Silent, TrainObserver};
pub use optimizer::{OptimizerConfig, OptimizerKind, ParamGroup};
pub use periodic::{EVAL_LOSS, Measurement, PeriodicEvaluation};
pub use plateau::{Plateau, ThresholdMode};
pub use recompute::{Recompute, UnknownRecompute};
pub use resume::Resume;
pub(crate) use resume::broken_checkpoint;
pub use schedule::{DecayType, LrSchedulerKwargs, LrSchedulerType, Schedule};
pub use share::Share;
pub use source::SampleSource;
pub use state::TrainerState;
pub use task::{
    BatchOutcome, Pass, PassGradients, PassReport, TrainingBatch, TrainingSample, TrainingTask,
    Validation,
};
pub use trainer::{TrainSummary, Trainer};
