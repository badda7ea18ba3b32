use crate::report::{
    format::{count, decimal, signed},
    svg::{self, Canvas, Marker},
};
use crate::{CellSummary, Estimate, Metric, StudyResults, StudySummary};

/// How many methods have colours of their own.
const COLORS: usize = 6;

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

    fn place(&self, method: &str) -> usize {
        self.methods().position(|name| name == method).unwrap_or(self.results.methods.len())
    }

    /// Colour and shape of a method, the same everywhere.
    pub(super) fn look(&self, method: &str) -> (&'static str, Marker) {
        svg::look(self.place(method))
    }

    /// How a method's lines are drawn: dashed where its colour is another's too.
    pub(super) fn stroke(&self, method: &str) -> &'static str {
        match (self.place(method) / COLORS).is_multiple_of(2) {
            true => r#"stroke-width="2""#,
            false => r#"stroke-width="2" stroke-dasharray="7 3""#,
        }
    }

    /// A method's sign before its name.
    pub(super) fn sign(&self, method: &str) -> String {
        let (color, marker) = self.look(method);
        let mut canvas = Canvas::new(12.0, 12.0);
        canvas.marker(marker, (6.0, 6.0), color, "");
        canvas.sign()
    }
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
