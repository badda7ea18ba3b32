use std::fmt;

use serde::{Deserialize, Serialize};

use super::{BaseResult, RunMeasures};
use crate::row::number;

/// How little of the tasks a ruined model may have learned beyond the base model.
const LEARNED: f64 = 0.05;

/// Why a run counts as diverged. Such a run is in no mean.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Divergence {
    /// The training loss became no number.
    Loss {
        /// At this step.
        step: usize,
    },
    /// The training came to its end and left a model that knows and can do nothing.
    Ruined {
        /// Its loss on held-out text, in nats per token; NaN where it is no number.
        #[serde(deserialize_with = "number")]
        text_loss: f64,
        /// That of the base model.
        base_text_loss: f64,
    },
}

impl Divergence {
    /// Whether a tuned model is ruined: its measures are no numbers, or its loss on held-out text
    /// is more than `threshold` nats above the base model's and it does not do the tasks better
    /// than the base model by 0.05 either. A model that forgot the text while it learned the tasks
    /// is not: that is what a study measures.
    pub fn ruined(measured: &RunMeasures, base: &BaseResult, threshold: f64) -> Option<Self> {
        let RunMeasures { knowledge, tasks, text_loss, .. } = *measured;
        let numbers = [knowledge, tasks, text_loss].iter().all(|value| value.is_finite());
        let lost = text_loss - base.text_loss > threshold && tasks < base.tasks + LEARNED;
        (!numbers || lost).then_some(Self::Ruined { text_loss, base_text_loss: base.text_loss })
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loss { step } => write!(f, "loss no number at step {step}"),
            Self::Ruined { text_loss, .. } if !text_loss.is_finite() => {
                write!(f, "ruined: held-out loss no number")
            }
            Self::Ruined { text_loss, base_text_loss } => {
                write!(f, "ruined: held-out loss {text_loss:.2}, from {base_text_loss:.2}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruined(knowledge: f64, tasks: f64, text_loss: f64) -> bool {
        let base = BaseResult { knowledge: 0.9, tasks: 0.01, text_loss: 1.2, ..Default::default() };
        let measured = RunMeasures { knowledge, tasks, text_loss, ..Default::default() };
        Divergence::ruined(&measured, &base, 3.0).is_some()
    }

    #[test]
    fn a_model_is_ruined_that_lost_the_text_and_learned_nothing() {
        assert!(ruined(0.0, 0.02, 4.3));
        assert!(!ruined(0.0, 0.02, 4.1));
        // Forgetting is a result, not a divergence.
        assert!(!ruined(0.0, 0.5, 9.0));
        for (knowledge, tasks, text) in
            [(f64::NAN, 0.5, 1.2), (0.9, f64::NAN, 1.2), (0.9, 0.5, f64::INFINITY)]
        {
            assert!(ruined(knowledge, tasks, text));
        }
    }

    #[test]
    fn a_loss_that_is_no_number_comes_back_from_json() {
        let ruined = Divergence::Ruined { text_loss: f64::NAN, base_text_loss: 1.0 };
        let text = serde_json::to_string(&ruined).unwrap();
        assert_eq!(text, r#"{"cause":"ruined","text_loss":null,"base_text_loss":1.0}"#);
        let read: Divergence = serde_json::from_str(&text).unwrap();
        assert_eq!(read.to_string(), "ruined: held-out loss no number");
    }
}
