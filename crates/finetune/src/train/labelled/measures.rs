use data::LabelSet;
use eval_tasks::{Aggregation, MetricValue};
use model_zoo::ProblemType;

use crate::train::{BatchOutcome, Measurement};

const ACCURACY: &str = "eval_accuracy";
const F1: &str = "eval_f1";
const F1_MACRO: &str = "eval_f1_macro";
const F1_MICRO: &str = "eval_f1_micro";
const MATTHEWS: &str = "eval_matthews_correlation";
const PEARSON: &str = "eval_pearson";
const SPEARMAN: &str = "eval_spearmanr";

/// What is measured of answers to labelled samples, all of it better the higher it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measures(pub(super) LabelSet);

impl Measures {
    /// Their names.
    pub(super) fn names(&self) -> Vec<String> {
        let names: &[&str] = match self.0.problem {
            ProblemType::Regression => &[PEARSON, SPEARMAN],
            // The class of F1 is the second of two.
            ProblemType::SingleLabelClassification if self.0.names.len() == 2 => {
                &[ACCURACY, F1, MATTHEWS]
            }
            ProblemType::SingleLabelClassification => &[ACCURACY, F1_MACRO, MATTHEWS],
            ProblemType::MultiLabelClassification => &[ACCURACY, F1_MICRO, F1_MACRO],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Measures what became of all batches.
    pub(super) fn of(&self, outcomes: &[BatchOutcome]) -> Vec<Measurement> {
        let answers = Answers::new(&self.0, outcomes);
        self.names()
            .into_iter()
            .map(|name| Measurement { value: answers.measure(&name), name, higher_is_better: true })
            .collect()
    }
}

/// What was right and what was answered, of each sample: the class, 0 or 1 for each class, or the
/// number.
struct Answers<'a> {
    gold: Vec<Vec<f64>>,
    given: Vec<Vec<f64>>,
    labels: &'a LabelSet,
}

impl<'a> Answers<'a> {
    fn new(set: &'a LabelSet, outcomes: &[BatchOutcome]) -> Self {
        let labels = set.names.len().max(1);
        let targets = match set.problem {
            ProblemType::MultiLabelClassification => labels,
            _ => 1,
        };
        let (mut gold, mut given) = (Vec::new(), Vec::new());
        for row in outcomes.iter().flat_map(|of| of.values.chunks_exact(targets + labels)) {
            let (target, logits) = row.split_at(targets);
            gold.push(target.to_vec());
            given.push(set.answer(logits).numbers().into_iter().map(f64::from).collect());
        }
        Self { gold, given, labels: set }
    }

    fn measure(&self, name: &str) -> f64 {
        match name {
            ACCURACY => {
                let right = self.pairs().filter(|(gold, given)| gold == given).count();
                right as f64 / self.gold.len().max(1) as f64
            }
            F1 => self.aggregate(Aggregation::F1),
            MATTHEWS => self.aggregate(Aggregation::MatthewsCorrcoef),
            PEARSON => self.aggregate(Aggregation::Pearson),
            SPEARMAN => self.aggregate(Aggregation::Spearman),
            F1_MACRO => {
                let labels = self.labels.names.len();
                let of_all: f64 = (0..labels).map(|class| f1(self.counts(class))).sum();
                of_all / labels.max(1) as f64
            }
            F1_MICRO => {
                let counts = (0..self.labels.names.len()).map(|class| self.counts(class));
                f1(counts.fold([0; 3], |sum, of| [0, 1, 2].map(|at| sum[at] + of[at])))
            }
            _ => f64::NAN,
        }
    }

    fn pairs(&self) -> impl Iterator<Item = (&Vec<f64>, &Vec<f64>)> {
        self.gold.iter().zip(&self.given)
    }

    /// Of a class: how often it was right and given, right and not given, and given in error.
    fn counts(&self, class: usize) -> [usize; 3] {
        let has = |values: &[f64]| match self.labels.problem {
            ProblemType::MultiLabelClassification => values[class] > 0.0,
            _ => values[0] == class as f64,
        };
        let mut counts = [0; 3];
        for (gold, given) in self.pairs() {
            match (has(gold), has(given)) {
                (true, true) => counts[0] += 1,
                (true, false) => counts[1] += 1,
                (false, true) => counts[2] += 1,
                (false, false) => {}
            }
        }
        counts
    }

    fn aggregate(&self, aggregation: Aggregation) -> f64 {
        let values: Vec<MetricValue> = self
            .pairs()
            .map(|(gold, given)| match aggregation {
                Aggregation::Pearson | Aggregation::Spearman => {
                    MetricValue::Values { target: gold[0], prediction: given[0] }
                }
                _ => MetricValue::Labels { gold: gold[0] as i64, predicted: given[0] as i64 },
            })
            .collect();
        let values: Vec<&MetricValue> = values.iter().collect();
        aggregation.aggregate(&values, 0).map_or(f64::NAN, |(value, _)| value)
    }
}

/// `2 tp / (2 tp + fn + fp)`; 0 where there is nothing.
fn f1([hits, missed, wrong]: [usize; 3]) -> f64 {
    2.0 * hits as f64 / (2 * hits + missed + wrong).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(problem: ProblemType, labels: usize, rows: &[&[f64]]) -> Vec<(String, f64)> {
        let outcomes: Vec<_> = rows
            .iter()
            .map(|row| BatchOutcome { values: row.to_vec(), ..BatchOutcome::default() })
            .collect();
        let set = match problem {
            ProblemType::Regression => LabelSet::regression(),
            problem => {
                LabelSet::new((0..labels).map(|at| at.to_string()).collect(), problem).unwrap()
            }
        };
        let found = Measures(set).of(&outcomes);
        found.into_iter().map(|of| (of.name, (of.value * 1e6).round() / 1e6)).collect()
    }

    fn named<const N: usize>(values: [(&str, f64); N]) -> Vec<(String, f64)> {
        values.map(|(name, value)| (name.to_owned(), value)).into()
    }

    #[test]
    fn two_classes_have_the_f1_score_of_the_second() {
        let rows: [&[f64]; 4] =
            [&[1.0, 0.0, 2.0], &[1.0, 3.0, 2.0], &[0.0, 1.0, 0.0], &[0.0, 0.0, 0.5]];
        let expected = [(ACCURACY, 0.5), (F1, 0.5), (MATTHEWS, 0.0)];
        assert_eq!(measured(ProblemType::SingleLabelClassification, 2, &rows), named(expected));
    }

    /// Values of scikit-learn.
    #[test]
    fn more_classes_have_the_mean_of_all_f1_scores() {
        let rows: [&[f64]; 5] = [
            &[0.0, 5.0, 0.0, 0.0],
            &[1.0, 0.0, 5.0, 0.0],
            &[2.0, 0.0, 5.0, 0.0],
            &[2.0, 0.0, 0.0, 5.0],
            &[1.0, 5.0, 0.0, 0.0],
        ];
        let expected = [(ACCURACY, 0.6), (F1_MACRO, 0.611111), (MATTHEWS, 0.4375)];
        assert_eq!(measured(ProblemType::SingleLabelClassification, 3, &rows), named(expected));
    }

    #[test]
    fn several_right_classes_are_counted_one_by_one() {
        let rows: [&[f64]; 2] = [&[1.0, 0.0, 2.0, 1.0], &[0.0, 1.0, -1.0, 1.0]];
        let expected = [(ACCURACY, 0.5), (F1_MICRO, 0.8), (F1_MACRO, 0.833333)];
        assert_eq!(measured(ProblemType::MultiLabelClassification, 2, &rows), named(expected));
    }

    #[test]
    fn numbers_are_correlated() {
        let rows: [&[f64]; 3] = [&[1.0, 1.0], &[2.0, 4.0], &[3.0, 9.0]];
        let expected = [(PEARSON, 0.989743), (SPEARMAN, 1.0)];
        assert_eq!(measured(ProblemType::Regression, 1, &rows), named(expected));
    }
}
