use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::nn::LinearConfig;
use lora_moe::burn::tensor::{Device, Gradients, Tensor};
use lora_moe::lora_expert::{ExpertBank, Ia3BankConfig, LoraBankConfig};
use lora_moe::moe_adapter::{AdaptedLinear, AdaptedProjection, MoeAdapter, Projection};
use lora_moe::router::{BatchContext, DenseRouter, DenseRouterConfig, RoutingTape, Site};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::layer::{floats, gradient, task_loss, text};
use super::{Case, Results};

/// HydraLoRA: a dense router over LoRA experts that share their `A`.
pub fn hydralora(case: &Case) -> Result<Results, String> {
    let device = case.device().autodiff();
    let (a, b) = (case.float::<2>("w.A", &device)?, case.float::<3>("w.B", &device)?);
    let bank = LoraBankConfig::new(case.number("scaling")?).init(a.unsqueeze(), b).map_err(text)?;
    mixture(case, &device, bank, |bank, grads| {
        let a = gradient(&bank.lora_a.val(), grads)?;
        Ok(vec![("grad.w.A", a), ("grad.w.B", gradient(&bank.lora_b.val(), grads)?)])
    })
}

/// MoV: a dense router over (IA)^3 vectors.
pub fn mov(case: &Case) -> Result<Results, String> {
    let device = case.device().autodiff();
    let l = case.float::<2>("w.l", &device)?;
    let [experts, out_features] = l.dims();
    let mut bank =
        Ia3BankConfig::default().init(experts, [1, out_features], &device).map_err(text)?;
    bank.ia3_l = Param::from_tensor(l);
    mixture(case, &device, bank, |bank, grads| {
        Ok(vec![("grad.w.l", gradient(&bank.ia3_l.val(), grads)?)])
    })
}

/// A dense router over `bank` on the case's frozen linear.
fn mixture<E: ExpertBank>(
    case: &Case,
    device: &Device,
    bank: E,
    of_bank: impl Fn(&E, &Gradients) -> Result<Results, String>,
) -> Result<Results, String> {
    let base = case.float::<2>("w.base", device)?;
    let [out_features, in_features] = base.dims();
    let mut linear = LinearConfig::new(in_features, out_features).with_bias(false).init(device);
    linear.weight = Param::from_tensor(base.transpose());
    let mut router = DenseRouterConfig::new(in_features, bank.num_experts())
        .init(&mut ChaCha8Rng::seed_from_u64(0), device)
        .map_err(text)?;
    router.weight = Param::from_tensor(case.float("w.gate", device)?);
    let mut layer = AdaptedLinear::<DenseRouter, E>::from_linear(linear.no_grad());
    layer.replace_adapter(Some(MoeAdapter::new(router, bank)));
    let adapter = layer.adapter().ok_or("the layer has no adapter")?;
    let router = adapter.router.as_ref().ok_or("the adapter has no router")?;

    let x: Tensor<3> = case.float("in.x", device)?.require_grad();
    let [batch, seq, _] = x.dims();
    let mut tape = RoutingTape::recording(BatchContext::new(batch, seq).with_training(0));
    let y = layer.forward(x.clone(), Site::new(0, "linear"), &mut tape);
    let loss = task_loss(case, y.clone())?;
    let [record] = tape.records() else {
        return Err(format!("{} routings instead of 1", tape.records().len()));
    };
    let mut results: Results = vec![
        ("out.y", floats(y)),
        ("out.weights", floats(record.routing.weights.clone())),
        ("out.loss", floats(loss.clone())),
    ];
    let grads = loss.backward();
    results.push(("grad.in.x", gradient(&x, &grads)?));
    results.push(("grad.w.gate", gradient(&router.weight.val(), &grads)?));
    results.extend(of_bank(&adapter.experts, &grads)?);
    Ok(results)
}
