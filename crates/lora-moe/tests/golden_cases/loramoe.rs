use lora_moe::balance_loss::{
    BalanceLoss, LocalizedBalancing, LocalizedBalancingConfig, VariationForm,
};
use lora_moe::router::DenseRouterConfig;

use super::layer::{Pass, floats, layer, router, task_loss, text};
use super::{Case, Results};

/// LoRAMoE: a dense router over LoRA experts on a frozen linear, with localised balancing.
///
/// `out.loss` is the task's loss plus `beta * out.balance`.
pub fn compute(case: &Case) -> Result<Results, String> {
    let device = case.device().autodiff();
    let (rank, [experts, found, in_features]) =
        (case.number("rank")?, case.float::<3>("w.A", &device)?.dims());
    if rank != found as f64 {
        return Err(format!("the case says rank {rank}, but `w.A` has {found}"));
    }
    let router = router(case, &DenseRouterConfig::new(in_features, experts), 0, &device)?;
    let layer = layer(case, router, case.number("alpha")? / rank, &device)?;
    let types = case.int("in.task_type", &device)?;
    let context = |context: lora_moe::router::BatchContext| {
        Ok(context.with_task_types(types).with_training(0))
    };
    let pass = Pass::run(case, layer, context, &device)?;

    let beta = case.number("beta")?;
    let balance = balancing(case, 1.0)?.loss(&pass.tape).map_err(text)?;
    let balance = balance.ok_or("no balance loss")?;
    let mut loss = task_loss(case, pass.y.clone())?;
    if let Some(balance) = balancing(case, beta)?.loss(&pass.tape).map_err(text)? {
        loss = loss + balance;
    }
    let (mut results, _) = pass.results(loss)?;
    results.push(("out.balance", floats(balance)));
    Ok(results)
}

fn balancing(case: &Case, blc_weight: f64) -> Result<LocalizedBalancing, String> {
    let form = match case.text("form")? {
        "var_over_mean" => VariationForm::VarOverMean,
        "cv2" => VariationForm::Cv2,
        other => return Err(format!("unknown form `{other}`")),
    };
    let blc_alpha = case.number("delta")?;
    let config = LocalizedBalancingConfig { blc_weight, blc_alpha, form, ..Default::default() };
    config.init().map_err(text)
}
