use super::Aggregation;
use crate::config::OutputType;

/// What is measured of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// Whether the most likely choice (or class) is right.
    Acc,
    /// As `acc`, with log-likelihoods divided by the characters of the choice.
    AccNorm,
    /// As `acc`, with log-likelihoods divided by the bytes of the choice.
    AccBytes,
    /// As `acc`, with the choice's log-likelihood without the question subtracted.
    AccMutualInfo,
    /// Whether the answer equals a target.
    ExactMatch,
    /// Whether the answer is the target's number, up to a tolerance.
    NumberMatch,
    /// Gold and predicted label, for the F1 score of class 1.
    F1,
    /// Gold and predicted label, for Matthews' correlation.
    Mcc,
    /// Gold label and probabilities, for the Brier score.
    BrierScore,
    /// The log-likelihood of the target, for the perplexity of targets.
    Perplexity,
    /// Log-likelihood and number of words.
    WordPerplexity,
    /// Log-likelihood and number of bytes.
    BytePerplexity,
    /// Log-likelihood and number of bytes.
    BitsPerByte,
    /// Whether the answer equals a target after SQuAD's normalisation.
    SquadEm,
    /// The largest F1 score of the answer's words with those of a target, after SQuAD's
    /// normalisation.
    SquadF1,
    /// Gold and predicted value, for Pearson's correlation.
    Pearson,
    /// Gold and predicted value, for Spearman's correlation.
    Spearman,
    /// Nothing: the answers are only recorded.
    Bypass,
}

use Metric::*;

const ALL: [(Metric, &str); 18] = [
    (Acc, "acc"),
    (AccNorm, "acc_norm"),
    (AccBytes, "acc_bytes"),
    (AccMutualInfo, "acc_mutual_info"),
    (ExactMatch, "exact_match"),
    (NumberMatch, "number_match"),
    (F1, "f1"),
    (Mcc, "mcc"),
    (BrierScore, "brier_score"),
    (Perplexity, "perplexity"),
    (WordPerplexity, "word_perplexity"),
    (BytePerplexity, "byte_perplexity"),
    (BitsPerByte, "bits_per_byte"),
    (SquadEm, "squad_em"),
    (SquadF1, "squad_f1"),
    (Pearson, "pearson"),
    (Spearman, "spearman"),
    (Bypass, "bypass"),
];

impl Metric {
    /// The metric of a name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known)| *known == name).map(|(metric, _)| *metric)
    }

    /// The name in task files and results.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(metric, _)| *metric == self).map_or("", |(_, name)| name)
    }

    /// All names.
    pub fn names() -> Vec<&'static str> {
        ALL.iter().map(|(_, name)| *name).collect()
    }

    /// The names of the metrics that an output type has.
    pub fn of(output_type: OutputType) -> Vec<&'static str> {
        let has = |(metric, _): &&(Self, &str)| metric.measures(output_type);
        ALL.iter().filter(has).map(|(_, name)| *name).collect()
    }

    /// Whether the answers of an output type have this metric.
    pub fn measures(self, output_type: OutputType) -> bool {
        match output_type {
            OutputType::LogLikelihood => matches!(self, Acc | Perplexity | Bypass),
            OutputType::LogLikelihoodRolling => {
                matches!(self, WordPerplexity | BytePerplexity | BitsPerByte | Bypass)
            }
            OutputType::MultipleChoice => matches!(
                self,
                Acc | AccNorm
                    | AccBytes
                    | AccMutualInfo
                    | ExactMatch
                    | F1
                    | Mcc
                    | BrierScore
                    | Bypass
            ),
            OutputType::GenerateUntil => {
                matches!(self, ExactMatch | NumberMatch | SquadEm | SquadF1 | Bypass)
            }
            OutputType::SequenceClassification => {
                matches!(self, Acc | F1 | Mcc | Pearson | Spearman | Bypass)
            }
            OutputType::ImageClassification => matches!(self, Acc | F1 | Mcc | Bypass),
        }
    }

    pub(crate) fn usual_aggregation(self) -> Aggregation {
        match self {
            Acc | AccNorm | AccBytes | AccMutualInfo | ExactMatch | NumberMatch | SquadEm
            | SquadF1 => Aggregation::Mean,
            F1 => Aggregation::F1,
            Mcc => Aggregation::MatthewsCorrcoef,
            BrierScore => Aggregation::BrierScore,
            Perplexity => Aggregation::Perplexity,
            WordPerplexity | BytePerplexity => Aggregation::WeightedPerplexity,
            BitsPerByte => Aggregation::BitsPerByte,
            Pearson => Aggregation::Pearson,
            Spearman => Aggregation::Spearman,
            Bypass => Aggregation::Bypass,
        }
    }

    pub(crate) fn usually_higher_is_better(self) -> bool {
        !matches!(self, BrierScore | Perplexity | WordPerplexity | BytePerplexity | BitsPerByte)
    }
}
