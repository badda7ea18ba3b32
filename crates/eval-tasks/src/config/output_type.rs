use std::fmt;

use crate::TaskError;
use crate::yaml::Node;

/// How a task asks the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputType {
    /// The log-likelihood of one target.
    LogLikelihood,
    /// The log-likelihood of whole texts.
    LogLikelihoodRolling,
    /// The log-likelihood of every choice; the most likely one is the answer.
    MultipleChoice,
    /// A text that the model writes.
    GenerateUntil,
    /// The class (or the value) that an encoder with a head gives a text or a pair.
    SequenceClassification,
    /// The class of an image.
    ImageClassification,
}

impl OutputType {
    const ALL: [(Self, &'static str); 6] = [
        (Self::LogLikelihood, "loglikelihood"),
        (Self::LogLikelihoodRolling, "loglikelihood_rolling"),
        (Self::MultipleChoice, "multiple_choice"),
        (Self::GenerateUntil, "generate_until"),
        (Self::SequenceClassification, "sequence_classification"),
        (Self::ImageClassification, "image_classification"),
    ];

    /// The name in task files.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    pub(super) fn of(node: &Node, key: &str) -> Result<Self, TaskError> {
        let text = node.text(key)?;
        let known = Self::ALL.iter().find(|(_, name)| *name == text);
        known
            .map(|(kind, _)| *kind)
            .ok_or_else(|| node.wrong(key, &Self::ALL.map(|(_, name)| name).join(", ")))
    }

    /// The metrics of a task that names none.
    pub(crate) fn usual_metrics(self) -> &'static [&'static str] {
        match self {
            Self::LogLikelihood => &["perplexity", "acc"],
            Self::LogLikelihoodRolling => &["word_perplexity", "byte_perplexity", "bits_per_byte"],
            Self::MultipleChoice => &["acc", "acc_norm"],
            Self::GenerateUntil => &["exact_match"],
            Self::SequenceClassification | Self::ImageClassification => &["acc"],
        }
    }
}

impl fmt::Display for OutputType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
