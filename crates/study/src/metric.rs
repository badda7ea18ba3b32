use serde::{Deserialize, Serialize};

use super::{BaseResult, RunMeasures};

/// A number by which runs are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Knowledge kept, from 0 to 1.
    Knowledge,
    /// Knowledge over that of the base model of the same seed.
    RelativeKnowledge,
    /// Tasks learned, from 0 to 1.
    Tasks,
    /// The mean of knowledge and tasks, by which learning rates are chosen.
    Score,
    /// The cross-entropy of held-out text, in nats per token.
    TextLoss,
    /// Its change from the base model of the same seed.
    TextLossChange,
    /// The cross-entropy of the answers by which knowledge is measured, in nats per token.
    KnowledgeLoss,
    /// That of the answers by which tasks are measured.
    TaskLoss,
    /// The entropy of the combine weights over the logarithm of the number of experts.
    Entropy,
    /// The largest mean share of an expert at any router.
    LargestShare,
    /// The share of experts that are used for hardly any token.
    DeadExperts,
    /// The mutual information of expert and kind of text, in nats.
    Specialisation,
    /// The share of identity experts on the tuned tasks.
    IdentityOnTasks,
    /// The share of identity experts on general text.
    IdentityOnText,
}

impl Metric {
    /// All of them, in the order of tables and files.
    pub const ALL: [Self; 14] = [
        Self::Knowledge,
        Self::RelativeKnowledge,
        Self::Tasks,
        Self::Score,
        Self::TextLoss,
        Self::TextLossChange,
        Self::KnowledgeLoss,
        Self::TaskLoss,
        Self::Entropy,
        Self::LargestShare,
        Self::DeadExperts,
        Self::Specialisation,
        Self::IdentityOnTasks,
        Self::IdentityOnText,
    ];

    /// Its name in files.
    pub fn key(self) -> &'static str {
        match self {
            Self::Knowledge => "knowledge",
            Self::RelativeKnowledge => "relative_knowledge",
            Self::Tasks => "tasks",
            Self::Score => "score",
            Self::TextLoss => "text_loss",
            Self::TextLossChange => "text_loss_change",
            Self::KnowledgeLoss => "knowledge_loss",
            Self::TaskLoss => "task_loss",
            Self::Entropy => "entropy",
            Self::LargestShare => "largest_share",
            Self::DeadExperts => "dead_experts",
            Self::Specialisation => "specialisation",
            Self::IdentityOnTasks => "identity_on_tasks",
            Self::IdentityOnText => "identity_on_text",
        }
    }

    /// Its value for a run; `None` where it was not measured, is no number, or `base`, the base
    /// model of the run's seed, is needed and missing.
    pub fn of(self, run: &RunMeasures, base: Option<&BaseResult>) -> Option<f64> {
        let routing = run.routing.as_ref();
        let value = match self {
            Self::Knowledge => run.knowledge,
            Self::RelativeKnowledge => run.knowledge / base?.knowledge,
            Self::Tasks => run.tasks,
            Self::Score => (run.knowledge + run.tasks) / 2.0,
            Self::TextLoss => run.text_loss,
            Self::TextLossChange => run.text_loss - base?.text_loss,
            Self::KnowledgeLoss => run.knowledge_loss?,
            Self::TaskLoss => run.task_loss?,
            Self::Entropy => routing?.entropy,
            Self::LargestShare => routing?.largest_share,
            Self::DeadExperts => routing?.dead_experts,
            Self::Specialisation => routing?.specialisation,
            Self::IdentityOnTasks => routing?.identity_share?.0,
            Self::IdentityOnText => routing?.identity_share?.1,
        };
        value.is_finite().then_some(value)
    }
}
