//! Strategies on a frozen linear with LoRA experts.

use lora_moe::balance_loss::{BalanceLossConfig, EntropyConfig};
use lora_moe::burn::module::Param;
use lora_moe::burn::tensor::{Device, Tensor};
use lora_moe::router::{
    AdamoleRouterConfig, DynmoleRouterConfig, Entropy, GateConfig, GatedRouter, StrategyConfig,
    TopKRouterConfig, TopPRouterConfig,
};

use super::layer::{Pass, floats, gradient, layer, router, task_loss};
use super::penalties::{importance_cv2, penalty, switch_balance, z_loss};
use super::{Case, Results};

type Gated<C> = GatedRouter<<C as StrategyConfig>::Strategy>;

fn pass<C: StrategyConfig>(
    case: &Case,
    config: &C,
    change: impl FnOnce(&mut Gated<C>, &Device) -> Result<(), String>,
) -> Result<Pass<Gated<C>>, String> {
    let device = case.device().autodiff();
    let mut router = router(case, config, 0, &device)?;
    change(&mut router, &device)?;
    let layer = layer(case, router, case.number("scaling")?, &device)?;
    Pass::run(case, layer, |context| Ok(context.with_training(0)), &device)
}

/// Top-k with the Switch loss, the z-loss and the importance loss.
pub fn top_k(case: &Case) -> Result<Results, String> {
    let k = case.number("k")? as usize;
    let renormalise = case.flag("renormalise")?;
    let config = TopKRouterConfig { k, renormalise, ..Default::default() };
    let pass = pass(case, &config, |_, _| Ok(()))?;
    let balance = switch_balance(&pass.tape)?;
    let (z, importance) = (z_loss(&pass.tape)?, importance_cv2(&pass.tape)?);
    let loss = task_loss(case, pass.y.clone())?
        + balance.clone() * case.number("balance_coef")?
        + z.clone() * case.number("z_coef")?
        + importance.clone() * case.number("importance_coef")?;
    let (mut results, _) = pass.results(loss)?;
    results.push(("out.selected", selected(&pass.routing.weights, k)));
    results.push(("out.switch_balance", floats(balance)));
    results.push(("out.z_loss", floats(z)));
    results.push(("out.importance_cv2", floats(importance)));
    Ok(results)
}

/// Top-p, inclusive. The gate of the case reads scaled inputs, which is a temperature.
pub fn top_p(case: &Case) -> Result<Results, String> {
    let temperature = 1.0 / case.number("gate_input_scale")?;
    let config = TopPRouterConfig {
        p: case.number("p")?,
        renormalise: case.flag("renormalise")?,
        gate: GateConfig::default().with_temperature(temperature),
        ..Default::default()
    };
    let pass = pass(case, &config, |_, _| Ok(()))?;
    let loss = task_loss(case, pass.y.clone())?;
    Ok(pass.results(loss)?.0)
}

/// AdaMoLE: a learned threshold, balanced by what is left above it.
pub fn adamole(case: &Case) -> Result<Results, String> {
    let max_threshold = Some(case.number("max_threshold")?);
    let config = AdamoleRouterConfig { max_threshold, ..Default::default() };
    let pass = pass(case, &config, |router, device| {
        let threshold = &mut router.strategy.threshold;
        threshold.weight = Param::from_tensor(case.float("w.threshold.weight", device)?);
        threshold.bias = Some(Param::from_tensor(case.float("w.threshold.bias", device)?));
        Ok(())
    })?;
    let balance = switch_balance(&pass.tape)?;
    let loss = task_loss(case, pass.y.clone())? + balance.clone() * case.number("balance_coef")?;
    let (mut results, grads) = pass.results(loss)?;
    let threshold = &pass.router()?.strategy.threshold;
    let bias = threshold.bias.as_ref().ok_or("no bias")?;
    results.push(("out.switch_balance", floats(balance)));
    results.push(("grad.w.threshold.weight", gradient(&threshold.weight.val(), &grads)?));
    results.push(("grad.w.threshold.bias", gradient(&bias.val(), &grads)?));
    Ok(results)
}

/// DynMoLE: all experts where the entropy is large, with the entropy as a loss.
pub fn dynmole(case: &Case) -> Result<Results, String> {
    let config = DynmoleRouterConfig {
        p: case.number("p")?,
        min_experts: case.number("keep")? as usize,
        entropy: Entropy::Tsallis { q: case.number("q")? },
        entropy_threshold: case.number("entropy_threshold")?,
        ..Default::default()
    };
    let pass = pass(case, &config, |_, _| Ok(()))?;
    let entropy = pass.routing.extras.entropy.clone().ok_or("no entropy")?;
    let coefficient = case.number("entropy_coef")?;
    let config = EntropyConfig { coefficient, ..EntropyConfig::default() };
    let penalty = penalty(&pass.tape, BalanceLossConfig::Entropy(config))?;
    let loss = task_loss(case, pass.y.clone())? + penalty;
    let (mut results, _) = pass.results(loss)?;
    results.push(("out.entropy", floats(entropy)));
    Ok(results)
}

/// The `k` experts of each token, the one with the largest weight first.
fn selected(weights: &Tensor<2>, k: usize) -> Vec<f32> {
    let [_, experts] = weights.dims();
    let weights = floats(weights.clone());
    let rows = weights.chunks(experts).flat_map(|row| {
        let mut order: Vec<usize> = (0..experts).collect();
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
        order.truncate(k);
        order
    });
    rows.map(|expert| expert as f32).collect()
}
