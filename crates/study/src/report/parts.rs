use serde::{Deserialize, Serialize};

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

/// A line of the list of settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What is set.
    pub name: String,
    /// To what.
    pub value: String,
}

impl Setting {
    /// A setting of anything that can be shown.
    pub fn new(name: impl Into<String>, value: impl ToString) -> Self {
        Self { name: name.into(), value: value.to_string() }
    }
}
