use lora_moe::router::select;

use super::layer::{floats, gradient};
use super::{Case, Results};

/// The sparse projection of logits onto the simplex, with a sparsity for each token.
pub fn compute(case: &Case) -> Result<Results, String> {
    let device = case.device().autodiff();
    let logits = case.float::<2>("in.logits", &device)?.require_grad();
    let lambda = case.float::<2>("in.lambda", &device)?.require_grad();
    // Says that the loss is the product that follows.
    case.text("note")?;
    let weights = select::sparsegen(logits.clone(), lambda.clone());
    let loss = (weights.clone() * case.float("in.cotangent", &device)?).sum();
    let grads = loss.backward();
    Ok(vec![
        ("out.weights", floats(weights)),
        ("out.loss", floats(loss)),
        ("grad.in.logits", gradient(&logits, &grads)?),
        ("grad.in.lambda", gradient(&lambda, &grads)?),
    ])
}
