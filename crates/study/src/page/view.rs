use report::Look;
use report::format::{count, decimal, signed};

use crate::{CellSummary, Estimate, Metric, StudyResults, StudySummary};

/// A study, what it says, and how its methods look.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) results: &'a StudyResults,
    pub(super) summary: &'a StudySummary,
}

impl<'a> View<'a> {
    /// The methods' names.
    pub(super) fn methods(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.results.methods.iter().map(|method| method.name.as_str())
    }

    /// The amounts of data that have runs, ascending.
    pub(super) fn amounts(&self) -> Vec<usize> {
        let mut amounts: Vec<_> = self.summary.cells.iter().map(|cell| cell.samples).collect();
        amounts.dedup();
        amounts
    }

    /// The largest amount of data.
    pub(super) fn largest(&self) -> usize {
        self.amounts().last().copied().unwrap_or(0)
    }

    /// A method's runs on the largest amount of data.
    pub(super) fn last(&self, method: &str) -> Option<&'a CellSummary> {
        self.summary.cell(method, self.largest())
    }

    /// A method's means by amount of data.
    pub(super) fn curve(&self, method: &str, metric: Metric) -> Vec<(usize, Estimate)> {
        let own = self.summary.cells.iter().filter(|cell| cell.method == method);
        own.filter_map(|cell| Some((cell.samples, cell.get(metric)?.estimate))).collect()
    }

    /// What a caption says of runs that are in no mean; empty where there are none.
    pub(super) fn left_out(&self, amount: Option<usize>) -> String {
        let cells = self.summary.cells.iter().filter(|cell| !cell.diverged.is_empty());
        let named: Vec<String> = cells
            .filter(|cell| amount.is_none_or(|amount| cell.samples == amount))
            .map(|cell| {
                let (n, all) = (cell.diverged.len(), cell.runs);
                format!("{} ({n} of {all} at {} samples)", cell.method, count(cell.samples))
            })
            .collect();
        match named.is_empty() {
            true => String::new(),
            false => format!(" Without the runs that diverged: {}.", named.join(", ")),
        }
    }

    /// Colour and shape of a method, the same everywhere.
    pub(super) fn look(&self, method: &str) -> Look {
        let place = self.methods().position(|name| name == method);
        Look::of(place.unwrap_or(self.results.methods.len()))
    }
}

/// An estimate and the ends of its interval.
pub(super) fn reach(estimate: &Estimate) -> [f64; 3] {
    let half = estimate.half_width.unwrap_or(0.0);
    [estimate.mean - half, estimate.mean, estimate.mean + half]
}

/// A mean with its interval, or with the word that there is none.
pub(super) fn with_interval(estimate: &Estimate, decimals: usize) -> String {
    let mean = decimal(estimate.mean, decimals);
    match estimate.half_width {
        Some(half) => format!("{mean} \u{b1} {}", decimal(half, decimals)),
        None => format!("{mean}, one seed"),
    }
}

/// A difference with the ends of its interval.
pub(super) fn difference(estimate: &Estimate, decimals: usize) -> String {
    let mean = signed(estimate.mean, decimals);
    match estimate.interval() {
        Some((low, high)) => {
            format!("{mean} ({} to {})", signed(low, decimals), signed(high, decimals))
        }
        None => format!("{mean} (one seed)"),
    }
}
