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
