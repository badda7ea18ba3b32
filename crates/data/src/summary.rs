use std::collections::HashSet;
use std::fmt;

use serde::Serialize;

use super::{Encoded, Sample};

/// What a data set is to the model, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DataSummary {
    /// Records read.
    pub rows: usize,
    /// Samples made of them.
    pub samples: usize,
    /// Tokens of all samples.
    pub tokens: usize,
    /// Those of them that are learned.
    pub learned_tokens: usize,
    /// The tokens of the shortest sample.
    pub min_length: usize,
    /// Half of the samples have no more tokens.
    pub median_length: usize,
    /// 95 % of the samples have no more tokens.
    pub p95_length: usize,
    /// The tokens of the longest sample.
    pub max_length: usize,
    /// Records that are cut at the longest length allowed.
    pub cut_rows: usize,
    /// Records that are left out, because nothing of them is learned.
    pub dropped_rows: usize,
    /// Samples that are equal to an earlier one, token by token.
    pub duplicates: usize,
}

impl DataSummary {
    /// Of what became of so many records.
    pub fn of(rows: usize, encoded: &Encoded) -> Self {
        let samples = &encoded.samples;
        let mut lengths: Vec<usize> = samples.iter().map(Sample::len).collect();
        lengths.sort_unstable();
        // The nearest rank.
        let quantile = |share: f64| {
            let rank = (share * lengths.len() as f64).ceil() as usize;
            lengths.get(rank.saturating_sub(1)).copied().unwrap_or(0)
        };
        let different: HashSet<_> =
            samples.iter().map(|sample| (&sample.input_ids, &sample.target_mask)).collect();
        Self {
            rows,
            samples: samples.len(),
            tokens: encoded.report.tokens,
            learned_tokens: encoded.report.target_tokens,
            min_length: quantile(0.0),
            median_length: quantile(0.5),
            p95_length: quantile(0.95),
            max_length: quantile(1.0),
            cut_rows: encoded.cut_rows.len(),
            dropped_rows: encoded.dropped_rows.len(),
            duplicates: samples.len() - different.len(),
        }
    }
}

impl fmt::Display for DataSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = 100.0 * self.learned_tokens as f64 / self.tokens.max(1) as f64;
        writeln!(f, "rows            {} ({} samples)", self.rows, self.samples)?;
        writeln!(f, "tokens          {}", self.tokens)?;
        writeln!(f, "learned tokens  {} ({share:.1} %)", self.learned_tokens)?;
        writeln!(
            f,
            "lengths         min {}, median {}, 95 % {}, max {}",
            self.min_length, self.median_length, self.p95_length, self.max_length
        )?;
        writeln!(f, "cut rows        {}", self.cut_rows)?;
        writeln!(f, "dropped rows    {}", self.dropped_rows)?;
        write!(f, "duplicates      {}", self.duplicates)
    }
}
