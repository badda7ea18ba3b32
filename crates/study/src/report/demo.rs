use serde::{Deserialize, Serialize};

use super::{BASE, LossCurve, ResultRow, RoutingShares, Setting};

/// Everything the report of a demonstration is made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DemoReport {
    /// The results, in any order.
    pub rows: Vec<ResultRow>,
    /// Share of the facts given as statements that were completed exactly; one for each of `rows`, or empty.
    pub statements: Vec<Option<f64>>,
    /// Routing shares of methods with several experts.
    pub routing: Vec<RoutingShares>,
    /// Training losses; of several runs of a method the longest is drawn.
    pub curves: Vec<LossCurve>,
    /// Learning rates, seeds, sizes, versions.
    pub settings: Vec<Setting>,
    /// How many knowledge questions were asked; 0 when unknown.
    pub questions: usize,
    /// The command that makes this report again.
    pub command: String,
    /// Seconds the whole demonstration took.
    pub seconds: f64,
}

impl DemoReport {
    /// The tuned methods, in the order in which their first rows come.
    pub fn methods(&self) -> Vec<&str> {
        let mut methods = Vec::new();
        for row in &self.rows {
            if row.method != BASE && !methods.contains(&row.method.as_str()) {
                methods.push(row.method.as_str());
            }
        }
        methods
    }

    /// The untuned model.
    pub fn base(&self) -> Option<&ResultRow> {
        self.rows.iter().find(|row| row.method == BASE)
    }

    /// The rows of a method by growing amount of data.
    pub fn curve(&self, method: &str) -> Vec<&ResultRow> {
        let mut rows: Vec<_> = self.rows.iter().filter(|row| row.method == method).collect();
        rows.sort_by_key(|row| row.samples);
        rows
    }

    /// Rows with the share of statements, the untuned model first, then by amount of data and method.
    pub(super) fn sorted(&self) -> Vec<(&ResultRow, Option<f64>)> {
        let methods = self.methods();
        let place = |row: &ResultRow| methods.iter().position(|method| *method == row.method);
        let statements = self.statements.iter().copied().chain(std::iter::repeat(None));
        let mut rows: Vec<_> = self.rows.iter().zip(statements).collect();
        rows.sort_by_key(|(row, _)| (row.method != BASE, row.samples, place(row)));
        rows
    }
}
