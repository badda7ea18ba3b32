use evaluation::routing::SiteShare;
use fused_ops::Precision;
use serde_json::{Value, json};

use super::{
    EVAL_LOSS, Measurement, NonFinite, NonFinitePolicy, Progress, RoutingCollapse, StepReport,
    Validation,
};

/// The line that a run begins with.
pub(super) fn first_line(precision: Precision) -> Value {
    json!({ "step": 0, "precision": precision })
}

/// The line of a step.
pub(super) fn step_line(progress: &Progress, report: &StepReport) -> Value {
    let mut line = json!({
        "step": progress.step,
        "epoch": progress.epoch,
        "loss": report.loss,
        "learning_rate": progress.learning_rate,
        "grad_norm": report.grad_norm,
        "tokens_per_s": progress.tokens_per_s,
    });
    if let Some(bytes) = progress.resident_bytes {
        line["resident_bytes"] = json!(bytes);
    }
    if let Some(balance_loss) = report.balance_loss {
        line["balance_loss"] = json!(balance_loss);
    }
    line
}

/// The line of a step that was not made.
pub(super) fn non_finite_line(step: usize, what: &NonFinite, policy: NonFinitePolicy) -> Value {
    json!({ "step": step, "non_finite": what.to_string(), "action": policy })
}

/// Adds the largest share of all projections, and those that have collapsed since the last line.
pub(super) fn add_routing(line: &mut Value, shares: &[SiteShare], collapsed: &[RoutingCollapse]) {
    let largest = shares.iter().map(|share| share.share).fold(0.0, f64::max);
    line["largest_routing_share"] = json!(largest);
    if !collapsed.is_empty() {
        let collapsed: Vec<_> = collapsed
            .iter()
            .map(|c| json!({ "site": c.site.to_string(), "expert": c.expert, "share": c.share }))
            .collect();
        line["routing_collapse"] = json!(collapsed);
    }
}

/// The line of an evaluation on validation data.
pub(super) fn evaluation_line(step: usize, validation: &Validation) -> Value {
    let mut line = measurement_line(step, &validation.measured);
    line[EVAL_LOSS] = json!(validation.loss);
    line["eval_targets"] = json!(validation.targets);
    line
}

/// The line of an evaluation of another kind.
pub(super) fn measurement_line(step: usize, measured: &[Measurement]) -> Value {
    let mut line = json!({ "step": step });
    measured.iter().for_each(|found| line[&found.name] = json!(found.value));
    line
}
