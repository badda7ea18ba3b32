use lora_moe::balance_loss::{
    BalanceLoss, LocalizedBalancing, LocalizedBalancingConfig, VariationForm,
};
use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::nn::LinearConfig;
use lora_moe::burn::tensor::{Device, Gradients, Tensor};
use lora_moe::lora_expert::LoraBankConfig;
use lora_moe::moe_adapter::{AdaptedLinear, AdaptedProjection, MoeAdapter, Projection};
use lora_moe::router::{BatchContext, DenseRouter, DenseRouterConfig, RoutingTape, Site};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Case, Results};

/// LoRAMoE: a dense router over LoRA experts on a frozen linear, with localised balancing.
///
/// `out.loss` is the task's loss plus `beta * out.balance`.
pub fn compute(case: &Case) -> Result<Results, String> {
    let device = Device::flex().autodiff();
    let layer = layer(case, &device)?;
    let adapter = layer.adapter().ok_or("the layer has no adapter")?;
    let router = adapter.router.as_ref().ok_or("the adapter has no router")?;

    let x = case.float::<3>("in.x", &device)?.require_grad();
    let [batch, seq, in_features] = x.dims();
    let context = BatchContext::new(batch, seq)
        .with_task_types(case.int("in.task_type", &device)?)
        .with_training(0);
    let mut tape = RoutingTape::recording(context);
    let y = layer.forward(x.clone(), Site::new(0, "linear"), &mut tape);

    let beta = case.number("beta")?;
    let balance = balancing(case, 1.0)?.loss(&tape).map_err(text)?;
    let balance = balance.ok_or("no balance loss")?;
    let mut loss = task_loss(case, y.clone(), &device)?;
    if let Some(balance) = balancing(case, beta)?.loss(&tape).map_err(text)? {
        loss = loss + balance;
    }

    let [record] = tape.records() else {
        return Err(format!("{} routings instead of 1", tape.records().len()));
    };
    let routing = &record.routing;
    let flat = x.clone().reshape([batch * seq, in_features]);
    let plain = adapter.experts.forward_reference(flat, Some(routing));
    let plain = layer.linear().forward(x.clone()) + plain.reshape(y.dims());

    let mut results: Results = vec![
        ("out.y", floats(y)),
        ("out.y", floats(plain)),
        ("out.weights", floats(routing.weights.clone())),
        ("out.balance", floats(balance)),
        ("out.loss", floats(loss.clone())),
    ];
    let grads = loss.backward();
    results.push(("grad.in.x", gradient(&x, &grads)?));
    results.push(("grad.w.gate", gradient(&router.weight.val(), &grads)?));
    results.push(("grad.w.A", gradient(&adapter.experts.lora_a.val(), &grads)?));
    results.push(("grad.w.B", gradient(&adapter.experts.lora_b.val(), &grads)?));
    Ok(results)
}

fn layer(case: &Case, device: &Device) -> Result<AdaptedLinear<DenseRouter>, String> {
    let base = case.float::<2>("w.base", device)?;
    let [out_features, in_features] = base.dims();
    let mut linear = LinearConfig::new(in_features, out_features).with_bias(false).init(device);
    linear.weight = Param::from_tensor(base.transpose());

    let (a, b) = (case.float::<3>("w.A", device)?, case.float::<3>("w.B", device)?);
    let (rank, [experts, found, _]) = (case.number("rank")?, a.dims());
    if rank != found as f64 {
        return Err(format!("the case says rank {rank}, but `w.A` has {found}"));
    }
    let bank = LoraBankConfig::new(case.number("alpha")? / rank).init(a, b).map_err(text)?;

    let mut router = DenseRouterConfig::new(in_features, experts)
        .init(&mut ChaCha8Rng::seed_from_u64(0), device)
        .map_err(text)?;
    let gate = case.float::<2>("w.gate", device)?;
    if gate.dims() != router.weight.dims() {
        return Err(format!("`w.gate` is {:?}", gate.dims()));
    }
    router.weight = Param::from_tensor(gate);

    let mut layer = AdaptedLinear::from_linear(linear.no_grad());
    layer.replace_adapter(Some(MoeAdapter::new(router, bank)));
    Ok(layer)
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

pub(super) fn task_loss(case: &Case, y: Tensor<3>, device: &Device) -> Result<Tensor<1>, String> {
    match case.text("task_loss")? {
        "mse" => Ok((y - case.float("in.target", device)?).powi_scalar(2).mean()),
        other => Err(format!("unknown task loss `{other}`")),
    }
}

pub(super) fn gradient<const D: usize>(
    of: &Tensor<D>,
    grads: &Gradients,
) -> Result<Vec<f32>, String> {
    of.grad(grads).map(floats).ok_or_else(|| "a parameter has no gradient".into())
}

pub(super) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
