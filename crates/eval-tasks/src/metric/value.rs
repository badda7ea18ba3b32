use serde::{Deserialize, Serialize};

/// What a metric is of one document, before it is aggregated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricValue {
    /// A number.
    Number(f64),
    /// A log-likelihood and what it is divided by: words or bytes.
    Weighted {
        /// The log-likelihood.
        value: f64,
        /// The words or bytes.
        weight: f64,
    },
    /// A label and the predicted one.
    Labels {
        /// The right one.
        gold: i64,
        /// The predicted one.
        predicted: i64,
    },
    /// A label and the probability of each choice.
    Probabilities {
        /// The right one.
        gold: i64,
        /// By choice.
        probabilities: Vec<f64>,
    },
    /// A value and the predicted one.
    Values {
        /// The right one.
        target: f64,
        /// The predicted one.
        prediction: f64,
    },
}

impl MetricValue {
    /// The number, where it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            _ => None,
        }
    }
}
