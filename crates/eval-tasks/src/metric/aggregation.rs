use super::{MetricValue, classification, correlation, standard_error};

/// How the values of all documents become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// `Σ v / n`.
    Mean,
    /// The mean without NaN.
    NanMean,
    /// The value in the middle; the upper one of two.
    Median,
    /// `exp(-Σ v / n)` of log-likelihoods.
    Perplexity,
    /// `exp(-Σ v / Σ w)` of log-likelihoods with words or bytes.
    WeightedPerplexity,
    /// `-Σ v / Σ w / ln 2` of log-likelihoods with bytes.
    BitsPerByte,
    /// The F1 score of class 1.
    F1,
    /// Matthews' correlation.
    MatthewsCorrcoef,
    /// The mean of `Σ_k (p_k - [k is gold])²`.
    BrierScore,
    /// Pearson's correlation.
    Pearson,
    /// Spearman's correlation.
    Spearman,
    /// None: the harness gives 999.
    Bypass,
}

use Aggregation::*;

const ALL: [(Aggregation, &str); 12] = [
    (Mean, "mean"),
    (NanMean, "nanmean"),
    (Median, "median"),
    (Perplexity, "perplexity"),
    (WeightedPerplexity, "weighted_perplexity"),
    (BitsPerByte, "bits_per_byte"),
    (F1, "f1"),
    (MatthewsCorrcoef, "matthews_corrcoef"),
    (BrierScore, "brier_score"),
    (Pearson, "pearson"),
    (Spearman, "spearman"),
    (Bypass, "bypass"),
];

/// Values of one kind, ready to be aggregated any number of times.
pub(super) enum Items {
    Numbers(Vec<f64>),
    Weighted(Vec<(f64, f64)>),
    Labels(Vec<(i64, i64)>),
    Classes { pairs: Vec<(usize, usize)>, count: usize },
    Pairs { targets: Vec<f64>, predictions: Vec<f64> },
}

impl Items {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(items) => items.len(),
            Self::Weighted(items) => items.len(),
            Self::Labels(items) => items.len(),
            Self::Classes { pairs, .. } => pairs.len(),
            Self::Pairs { targets, .. } => targets.len(),
        }
    }
}

impl Aggregation {
    /// The aggregation of a name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().find(|(_, known)| *known == name).map(|(kind, _)| *kind)
    }

    /// The name in task files.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }

    /// All names.
    pub fn names() -> Vec<&'static str> {
        ALL.iter().map(|(_, name)| *name).collect()
    }

    /// The aggregate and its standard error.
    ///
    /// The error of a mean is `s / sqrt(n)` with the sample's deviation `s`. Those of medians,
    /// perplexities, F1 scores and correlations come from `bootstrap_iterations` samples with
    /// replacement, drawn as the harness draws them (correlations, which the harness does not
    /// have, from at most 1000). Weighted perplexities have none, nor has anything if there are
    /// fewer than two documents or no iterations.
    ///
    /// # Errors
    /// What kind of value the aggregation needs, where a value is of another.
    pub fn aggregate(
        self,
        values: &[&MetricValue],
        bootstrap_iterations: usize,
    ) -> Result<(f64, Option<f64>), String> {
        if values.is_empty() {
            return Err("there are no values".into());
        }
        let items = self.items(values)?;
        let all: Vec<usize> = (0..items.len()).collect();
        let value = self.compute(&items, &all);
        if bootstrap_iterations == 0 || values.len() < 2 {
            return Ok((value, None));
        }
        let error = match (self, &items) {
            (Mean, Items::Numbers(numbers)) => Some(standard_error::of_mean(numbers)),
            (NanMean | Median | Perplexity | F1 | MatthewsCorrcoef, _) => {
                Some(standard_error::bootstrap(self, &items, bootstrap_iterations))
            }
            (Pearson | Spearman, _) => {
                Some(standard_error::bootstrap(self, &items, bootstrap_iterations.min(1000)))
            }
            _ => None,
        };
        Ok((value, error))
    }

    fn items(self, values: &[&MetricValue]) -> Result<Items, String> {
        let needs = |what: &str| format!("aggregation `{}` needs {what}", self.name());
        match self {
            Mean | NanMean | Median | Perplexity | Bypass => {
                let numbers = values.iter().map(|value| value.number());
                let numbers: Option<Vec<f64>> = numbers.collect();
                Ok(Items::Numbers(numbers.ok_or_else(|| needs("one number a document"))?))
            }
            WeightedPerplexity | BitsPerByte => {
                let pairs = values.iter().map(|value| match value {
                    MetricValue::Weighted { value, weight } => Some((*value, *weight)),
                    _ => None,
                });
                let pairs: Option<Vec<_>> = pairs.collect();
                Ok(Items::Weighted(pairs.ok_or_else(|| needs("log-likelihoods with weights"))?))
            }
            F1 | MatthewsCorrcoef => {
                let pairs = values.iter().map(|value| match value {
                    MetricValue::Labels { gold, predicted } => Some((*gold, *predicted)),
                    _ => None,
                });
                let pairs: Option<Vec<_>> = pairs.collect();
                let pairs = pairs.ok_or_else(|| needs("gold and predicted labels"))?;
                Ok(if self == F1 { Items::Labels(pairs) } else { classes(&pairs) })
            }
            BrierScore => {
                let scores: Option<Vec<f64>> = values.iter().map(|value| brier(value)).collect();
                Ok(Items::Numbers(scores.ok_or_else(|| needs("a label and probabilities"))?))
            }
            Pearson | Spearman => {
                let pairs = values.iter().map(|value| match value {
                    MetricValue::Values { target, prediction } => Some((*target, *prediction)),
                    _ => None,
                });
                let pairs: Option<Vec<_>> = pairs.collect();
                let (targets, predictions) =
                    pairs.ok_or_else(|| needs("targets and predictions"))?.into_iter().unzip();
                Ok(Items::Pairs { targets, predictions })
            }
        }
    }

    /// The aggregate of the chosen items, which may repeat.
    pub(super) fn compute(self, items: &Items, chosen: &[usize]) -> f64 {
        let count = chosen.len() as f64;
        match items {
            Items::Numbers(numbers) => {
                let values = chosen.iter().map(|index| numbers[*index]);
                match self {
                    Perplexity => (-(values.sum::<f64>() / count)).exp(),
                    Median => {
                        let mut sorted: Vec<f64> = values.collect();
                        sorted.sort_by(f64::total_cmp);
                        sorted[sorted.len() / 2]
                    }
                    NanMean => {
                        let (mut sum, mut known) = (0.0, 0.0);
                        for value in values.filter(|value| !value.is_nan()) {
                            sum += value;
                            known += 1.0;
                        }
                        sum / known
                    }
                    Bypass => 999.0,
                    _ => values.sum::<f64>() / count,
                }
            }
            Items::Weighted(pairs) => {
                let (mut value, mut weight) = (0.0, 0.0);
                for index in chosen {
                    value += pairs[*index].0;
                    weight += pairs[*index].1;
                }
                let mean = value / weight;
                if self == BitsPerByte { -mean / std::f64::consts::LN_2 } else { (-mean).exp() }
            }
            Items::Labels(pairs) => classification::f1(chosen.iter().map(|index| pairs[*index])),
            Items::Classes { pairs, count } => {
                classification::matthews(chosen.iter().map(|index| pairs[*index]), *count)
            }
            Items::Pairs { targets, predictions } => {
                let of =
                    |values: &[f64]| -> Vec<f64> { chosen.iter().map(|i| values[*i]).collect() };
                let (x, y) = (of(targets), of(predictions));
                if self == Pearson {
                    correlation::pearson(&x, &y)
                } else {
                    correlation::spearman(&x, &y)
                }
            }
        }
    }
}

fn classes(pairs: &[(i64, i64)]) -> Items {
    let mut known: Vec<i64> = pairs.iter().flat_map(|(a, b)| [*a, *b]).collect();
    known.sort_unstable();
    known.dedup();
    let index = |label: &i64| known.binary_search(label).unwrap_or(0);
    let pairs = pairs.iter().map(|(gold, predicted)| (index(gold), index(predicted))).collect();
    Items::Classes { pairs, count: known.len() }
}

fn brier(value: &MetricValue) -> Option<f64> {
    let MetricValue::Probabilities { gold, probabilities } = value else { return None };
    let terms = probabilities.iter().enumerate().map(|(choice, probability)| {
        let target = f64::from(choice as i64 == *gold);
        (probability - target).powi(2)
    });
    Some(terms.sum())
}
