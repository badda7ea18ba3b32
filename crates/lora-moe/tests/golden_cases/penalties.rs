//! The losses that cases add to the loss of their task, as plain expressions.

use lora_moe::burn::tensor::Tensor;
use lora_moe::router::Routing;

/// The Switch loss, `E * sum_e f_e P_e`, with `f` the tokens of an expert by all tokens, and `P` the
/// mean of what the strategy balances: its probabilities, or its balance scores.
pub fn switch_balance(routing: &Routing) -> Result<Tensor<1>, String> {
    let selection = routing.selection.clone().ok_or("no selection")?;
    let scores = routing.extras.balance_scores.clone();
    let scores = scores.unwrap_or_else(|| routing.probabilities.clone());
    let product = selection.float().mean_dim(0) * scores.mean_dim(0);
    Ok(product.sum() * routing.num_experts() as f64)
}

/// The mean of `ln(sum_e exp(logit_e))^2`.
pub fn z_loss(routing: &Routing) -> Tensor<1> {
    routing.logits.clone().exp().sum_dim(1).log().powi_scalar(2).mean()
}

/// The squared coefficient of variation of the experts' summed weights, with the unbiased variance.
pub fn importance_cv2(routing: &Routing) -> Tensor<1> {
    let importance: Tensor<2> = routing.weights.clone().sum_dim(0);
    let mean = importance.clone().mean();
    let deviations = importance - mean.clone().unsqueeze_dim(0);
    let variance = deviations.powi_scalar(2).sum() / (routing.num_experts() as f64 - 1.0);
    variance / mean.powi_scalar(2)
}

/// The sum over experts of `mean |A| + mean |B|`.
pub fn l1(parameters: &[Tensor<3>]) -> Option<Tensor<1>> {
    let terms = parameters.iter().map(|p| p.clone().abs().mean() * p.dims()[0] as f64);
    terms.reduce(|sum, term| sum + term)
}
