//! Knowledge at equal learning: a method that learns less also forgets less, so what is kept is read
//! off a curve at a level of learning that all curves reach.

use crate::ResultRow;

/// Steps in which the level is chosen, so that it reads as a round number.
pub(crate) const STEP: f64 = 0.05;

/// The highest round level that all of `reached` come up to; `None` where that is no higher than
/// `start`.
pub(crate) fn common_level(reached: impl Iterator<Item = f64>, start: f64) -> Option<f64> {
    let common = reached.reduce(f64::min)?;
    // A little slack, so that 0.85 does not fall to 0.80 by rounding.
    let level = (common / STEP + 1e-9).floor() * STEP;
    (level.is_finite() && level >= STEP && level > start).then_some(level)
}

/// Knowledge where the curve first comes up to `level`.
pub(crate) fn knowledge_at(points: &[&ResultRow], level: f64) -> Option<f64> {
    // Slack as in the choice of the level, which may lie a rounding error above the point that reaches it.
    let reached = points.iter().position(|row| row.tasks >= level - 1e-9)?;
    let above = points[reached];
    let Some(below) = reached.checked_sub(1).map(|i| points[i]) else {
        return Some(above.knowledge);
    };
    let part = ((level - below.tasks) / (above.tasks - below.tasks)).clamp(0.0, 1.0);
    Some(below.knowledge + part * (above.knowledge - below.knowledge))
        .filter(|kept| kept.is_finite())
}
