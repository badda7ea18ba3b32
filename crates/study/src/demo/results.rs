use serde::{Deserialize, Serialize};

use crate::{BASE, ResultRow, Setting};

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

    /// How many of all tuned methods come before this one.
    pub(super) fn place(&self, method: &str) -> usize {
        let methods = self.methods();
        methods.iter().position(|known| *known == method).unwrap_or(methods.len())
    }

    /// Rows with the share of statements, the untuned model first, then by amount of data and method.
    pub(super) fn sorted(&self) -> Vec<(&ResultRow, Option<f64>)> {
        let statements = self.statements.iter().copied().chain(std::iter::repeat(None));
        let mut rows: Vec<_> = self.rows.iter().zip(statements).collect();
        rows.sort_by_key(|(row, _)| (row.method != BASE, row.samples, self.place(&row.method)));
        rows
    }
}

/// How much of the routing weight each expert receives, averaged over layers, projections and tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutingShares {
    /// Method that was tuned.
    pub method: String,
    /// Samples it was tuned on.
    pub samples: usize,
    /// How many experts, counted from the first, are meant for knowledge; 0 when none is.
    pub knowledge_experts: usize,
    /// Share of each expert on knowledge samples.
    pub knowledge: Vec<f64>,
    /// Share of each expert on task samples.
    pub tasks: Vec<f64>,
}

/// The training loss over the steps of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LossCurve {
    /// Name shown; one that begins with a method's name takes that method's colour.
    pub name: String,
    /// Step and loss.
    pub points: Vec<(f64, f64)>,
}
