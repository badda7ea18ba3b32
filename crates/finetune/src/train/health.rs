use serde::{Deserialize, Serialize};

/// Whether a checkpoint is one to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CheckpointHealth {
    /// The loss of the weights it holds on the samples of the first step; absent where it is no number.
    pub loss: Option<f64>,
    /// Whether that loss is one of a run that learns: a number, and at most one nat, or by half,
    /// above that of the start, whichever is more.
    pub healthy: bool,
}

impl CheckpointHealth {
    /// The health of weights with a loss, where the start had the loss `first`.
    pub(super) fn new(loss: f64, first: Option<f64>) -> Self {
        let limit = first.map_or(f64::INFINITY, |first| (first + SLACK).max(first * FACTOR));
        Self { loss: loss.is_finite().then_some(loss), healthy: loss.is_finite() && loss <= limit }
    }
}

/// What is learned moves a loss by less, and a run that has diverged guesses worse than at random.
const SLACK: f64 = 1.0;
const FACTOR: f64 = 1.5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_healthy_up_to_a_nat_or_half_above_the_first() {
        let healthy = |loss, first| CheckpointHealth::new(loss, first).healthy;
        assert!(healthy(0.9, Some(0.1)) && !healthy(1.2, Some(0.1)));
        assert!(healthy(8.9, Some(6.0)) && !healthy(9.1, Some(6.0)));
        assert!(healthy(50.0, None));
        assert!(!healthy(f64::NAN, None) && !healthy(f64::INFINITY, Some(1.0)));
        assert_eq!(CheckpointHealth::new(f64::NAN, None).loss, None);
    }
}
