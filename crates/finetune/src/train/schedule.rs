use serde::{Deserialize, Serialize};

/// How the learning rate moves after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedulerType {
    /// It stays.
    Constant,
    /// It falls to 0 in a straight line.
    Linear,
    /// It falls to 0 along half a cosine.
    #[default]
    Cosine,
}

/// The learning rate of every step of a run.
///
/// With peak `lr`, `w` warm-up steps and `n` steps in all, step `i` (from 0) has
///
/// ```text
/// lr * i / w                                   i < w
/// lr                                           constant
/// lr * (n - i) / (n - w)                       linear
/// lr * (1 + cos(pi (i - w) / (n - w))) / 2     cosine
/// ```
///
/// which is what transformers' schedulers give.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// The peak.
    pub learning_rate: f64,
    /// What happens after the warm-up.
    pub kind: LrSchedulerType,
    /// The steps in which the rate rises from 0.
    pub warmup_steps: usize,
    /// All steps of the run.
    pub total_steps: usize,
}

impl Schedule {
    /// The learning rate of step `step`, counted from 0.
    pub fn at(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * step as f64 / self.warmup_steps as f64;
        }
        let span = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let progress = ((step - self.warmup_steps) as f64 / span).min(1.0);
        self.learning_rate
            * match self.kind {
                LrSchedulerType::Constant => 1.0,
                LrSchedulerType::Linear => 1.0 - progress,
                LrSchedulerType::Cosine => (1.0 + (std::f64::consts::PI * progress).cos()) / 2.0,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: LrSchedulerType) -> Schedule {
        Schedule { learning_rate: 2.0, kind, warmup_steps: 10, total_steps: 110 }
    }

    #[test]
    fn the_rate_rises_then_follows_its_kind() {
        for (kind, middle, end) in [
            (LrSchedulerType::Constant, 2.0, 2.0),
            (LrSchedulerType::Linear, 1.0, 0.0),
            (LrSchedulerType::Cosine, 1.0, 0.0),
        ] {
            let schedule = schedule(kind);
            assert_eq!(schedule.at(0), 0.0);
            assert_eq!(schedule.at(5), 1.0);
            assert_eq!(schedule.at(10), 2.0);
            assert!((schedule.at(60) - middle).abs() < 1e-12, "{kind:?}");
            assert!((schedule.at(110) - end).abs() < 1e-12, "{kind:?}");
        }
    }
}
