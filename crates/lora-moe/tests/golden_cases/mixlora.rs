use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::nn::LinearConfig;
use lora_moe::burn::tensor::{Device, Int, Tensor};
use lora_moe::lora_expert::{AnyBank, LoraBankConfig};
use lora_moe::moe_adapter::{
    AdaptedLinear, AdaptedProjection, FeedForwardPaths, GatedFeedForward, MoeAdapter, Projection,
};
use lora_moe::router::{
    AnyRouter, BatchContext, RouterConfig, RouterShape, RoutingTape, TopKRouterConfig,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Case, Results};

/// MixLoRA: one router over experts that are whole feed-forward blocks.
///
/// `out.loss` is the mean square over real tokens plus the coefficient times the load balancing
/// loss, whose shares sum to `k` and whose means leave padding out.
pub fn compute(case: &Case) -> Result<Results, String> {
    let device = Device::flex().autodiff();
    for (key, value) in [("activation", "silu"), ("task_loss", "mse over unpadded tokens")] {
        if case.text(key)? != value {
            return Err(format!("unknown `{key}`"));
        }
    }
    let k = case.number("k")? as usize;
    let mut block = GatedFeedForward::new(
        projection(case, "gate_proj", &device)?,
        projection(case, "up_proj", &device)?,
        projection(case, "down_proj", &device)?,
    );
    block.router = Some(router(case, k, &device)?);

    let x = case.float::<3>("in.x", &device)?.require_grad();
    let [batch, seq, hidden] = x.dims();
    let mask = case.float::<2>("in.mask", &device)?;
    let context = BatchContext::new(batch, seq)
        .with_token_mask(mask.clone().equal_elem(1.0))
        .with_training(0);
    let mut tape = RoutingTape::recording(context);
    let y = block.forward(x.clone(), 0, &FeedForwardPaths::LLAMA, &mut tape);

    let [record] = tape.records() else {
        return Err(format!("{} routings instead of 1", tape.records().len()));
    };
    let routing = &record.routing;
    let coefficient = case.number("balance_coef")?;
    let balance = super::shared::switch_balance(routing, Some(&mask));
    let error = (y.clone() - case.float("in.target", &device)?).powi_scalar(2);
    let tokens = mask.clone().sum();
    let error = (error * mask.unsqueeze_dim::<3>(2)).sum() / (tokens * hidden as f64);
    let loss = error + balance.clone() * coefficient;

    let top: Tensor<2, Int> = routing.probabilities.clone().topk_with_indices(k, 1).1;
    let mut results: Results = vec![
        ("out.y", super::shared::floats(y)),
        ("out.probs", super::shared::floats(routing.probabilities.clone())),
        ("out.selected", top.into_data().iter::<f32>().collect()),
        ("out.switch_balance", super::shared::floats(balance)),
        ("out.loss", super::shared::floats(loss.clone())),
    ];
    let grads = loss.backward();
    let gate = block.router.as_ref().and_then(AnyRouter::gate).ok_or("no router")?;
    results.push(("grad.in.x", super::shared::gradient(&x, &grads)?));
    results.push(("grad.w.gate", super::shared::gradient(&gate.weight.val(), &grads)?));
    let names = [
        ("grad.w.gate_proj.A", "grad.w.gate_proj.B", &block.gate_proj),
        ("grad.w.up_proj.A", "grad.w.up_proj.B", &block.up_proj),
        ("grad.w.down_proj.A", "grad.w.down_proj.B", &block.down_proj),
    ];
    for (a, b, projection) in names {
        let Some(AnyBank::Lora(bank)) = projection.experts() else {
            return Err("no LoRA experts".into());
        };
        results.push((a, super::shared::gradient(&bank.lora_a.val(), &grads)?));
        results.push((b, super::shared::gradient(&bank.lora_b.val(), &grads)?));
    }
    Ok(results)
}
