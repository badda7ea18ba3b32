use lora_moe::balance_loss::{BalanceLossConfig, LoadBalancingConfig};
use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::nn::LinearConfig;
use lora_moe::burn::tensor::{Device, Int, Tensor};
use lora_moe::lora_expert::{LoraBank, LoraBankConfig};
use lora_moe::moe_adapter::{
    AdaptedLinear, AdaptedProjection, FeedForwardPaths, GatedFeedForward, MoeAdapter, Projection,
};
use lora_moe::router::{BatchContext, RoutingTape, TopKRouter, TopKRouterConfig};

use super::layer::{floats, gradient, router, text};
use super::penalties::penalty;
use super::{Case, Results};

type Layer = AdaptedLinear<TopKRouter, LoraBank>;

/// MixLoRA: one router over experts that are whole feed-forward blocks.
///
/// `out.loss` is the mean square over real tokens plus the coefficient times the load balancing
/// loss, whose shares sum to `k` and whose means leave padding out.
pub fn compute(case: &Case) -> Result<Results, String> {
    let device = case.device().autodiff();
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
    let config = TopKRouterConfig { k, ..TopKRouterConfig::default() };
    block.router = Some(router(case, &config, 0, &device)?);

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
    let losses = |coefficient| {
        let config = LoadBalancingConfig { coefficient, ..LoadBalancingConfig::default() };
        penalty(&tape, BalanceLossConfig::LoadBalancing(config))
    };
    let balance = losses(1.0)?;
    let error = (y.clone() - case.float("in.target", &device)?).powi_scalar(2);
    let tokens = mask.clone().sum();
    let error = (error * mask.unsqueeze_dim::<3>(2)).sum() / (tokens * hidden as f64);
    let loss = error + losses(coefficient)?;

    let top: Tensor<2, Int> = routing.probabilities.clone().topk_with_indices(k, 1).1;
    let mut results: Results = vec![
        ("out.y", floats(y)),
        ("out.probs", floats(routing.probabilities.clone())),
        ("out.selected", top.into_data().iter::<f32>().collect()),
        ("out.switch_balance", floats(balance)),
        ("out.loss", floats(loss.clone())),
    ];
    let grads = loss.backward();
    let router = block.router.as_ref().ok_or("no router")?;
    results.push(("grad.in.x", gradient(&x, &grads)?));
    results.push(("grad.w.gate", gradient(&router.weight.val(), &grads)?));
    let names = [
        ("grad.w.gate_proj.A", "grad.w.gate_proj.B", &block.gate_proj),
        ("grad.w.up_proj.A", "grad.w.up_proj.B", &block.up_proj),
        ("grad.w.down_proj.A", "grad.w.down_proj.B", &block.down_proj),
    ];
    for (a, b, projection) in names {
        let bank = projection.experts().ok_or("no experts")?;
        results.push((a, gradient(&bank.lora_a.val(), &grads)?));
        results.push((b, gradient(&bank.lora_b.val(), &grads)?));
    }
    Ok(results)
}

fn projection(case: &Case, name: &str, device: &Device) -> Result<Layer, String> {
    let base = case.float::<2>(&format!("w.{name}"), device)?;
    let [out_features, in_features] = base.dims();
    let mut linear = LinearConfig::new(in_features, out_features).with_bias(false).init(device);
    linear.weight = Param::from_tensor(base.transpose());
    let a = case.float::<3>(&format!("w.{name}.A"), device)?;
    let b = case.float::<3>(&format!("w.{name}.B"), device)?;
    let bank = LoraBankConfig::new(case.number("scaling")?).init(a, b).map_err(text)?;
    let mut projection = Layer::from_linear(linear.no_grad());
    projection.replace_adapter(Some(MoeAdapter::unrouted(bank)));
    Ok(projection)
}
