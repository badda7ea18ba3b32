use std::fmt;

use data::{LabelSet, Target};
use model_zoo::ProblemType;
use serde::Serialize;

/// What labelled data came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LabelledReport {
    /// The samples.
    pub samples: usize,
    /// Their tokens: those of the texts, or the positions that the model makes of the images.
    pub tokens: usize,
    /// The longest sample, in tokens.
    pub longest: usize,
    /// The texts that were cut.
    pub truncated: usize,
    /// How many samples have each label, in the order of the logits; empty for numbers.
    pub counts: Vec<(String, usize)>,
}

impl LabelledReport {
    /// Counts samples: the tokens of each, and its target.
    pub fn of(labels: &LabelSet, samples: Vec<(usize, &Target)>, truncated: usize) -> Self {
        let names = match labels.problem {
            ProblemType::Regression => &[][..],
            _ => &labels.names[..],
        };
        let counts = names.iter().map(|name| (name.clone(), 0)).collect();
        let mut report = Self { truncated, counts, ..Self::default() };
        for (tokens, target) in samples {
            report.samples += 1;
            report.tokens += tokens;
            report.longest = report.longest.max(tokens);
            for (at, (_, count)) in report.counts.iter_mut().enumerate() {
                *count += usize::from(match target {
                    Target::Class(class) => *class == at,
                    Target::Classes(classes) => classes.get(at) == Some(&true),
                    Target::Value(_) => false,
                });
            }
        }
        report
    }
}

impl fmt::Display for LabelledReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 12;
        write!(
            f,
            "{} samples, {} tokens, {} truncated",
            self.samples, self.tokens, self.truncated
        )?;
        for (at, (name, count)) in self.counts.iter().take(SHOWN).enumerate() {
            write!(f, "{} {name} {count}", if at == 0 { ";" } else { "," })?;
        }
        match self.counts.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, " and {more} more labels"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str], problem: ProblemType) -> LabelSet {
        LabelSet::new(names.iter().map(|name| (*name).to_owned()).collect(), problem).unwrap()
    }

    #[test]
    fn every_right_label_is_counted_and_numbers_have_none() {
        let single = labels(&["no", "yes"], ProblemType::SingleLabelClassification);
        let (no, yes) = (Target::Class(0), Target::Class(1));
        let report = LabelledReport::of(&single, vec![(3, &yes), (5, &no), (4, &yes)], 1);
        assert_eq!((report.samples, report.tokens, report.longest), (3, 12, 5));
        assert_eq!(report.counts, [("no".to_owned(), 1), ("yes".to_owned(), 2)]);
        assert_eq!(report.to_string(), "3 samples, 12 tokens, 1 truncated; no 1, yes 2");

        let multi = labels(&["a", "b", "c"], ProblemType::MultiLabelClassification);
        let (both, none) =
            (Target::Classes(vec![true, false, true]), Target::Classes(vec![false; 3]));
        let report = LabelledReport::of(&multi, vec![(1, &both), (1, &none)], 0);
        assert_eq!(report.counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 0, 1]);

        let number = labels(&["score"], ProblemType::Regression);
        let report = LabelledReport::of(&number, vec![(2, &Target::Value(0.5))], 0);
        assert_eq!(report.to_string(), "1 samples, 2 tokens, 0 truncated");
    }
}
