use lora_moe::balance_loss::{BalanceLossConfig, L1Config};
use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::nn::{Linear, LinearConfig};
use lora_moe::burn::tensor::Device;
use lora_moe::lora_expert::{ExpertSlots, IdentityMode, LoraBank, LoraBankConfig};
use lora_moe::moe_adapter::{AdaptedLinear, AdaptedProjection, MoeAdapter, Projection};
use lora_moe::router::{
    BatchContext, Buffer, Distance, RoutingTape, Site, SlidingClusterRouter,
    SlidingClusterRouterConfig, Yielding,
};

use super::layer::{floats, gradient, router, task_loss, text};
use super::penalties::penalty;
use super::{Case, Results};

type Layer = AdaptedLinear<SlidingClusterRouter, LoraBank>;

/// SLIM: LoRA experts that yield to identity experts far from the clusters, with masked factors.
pub fn compute(case: &Case) -> Result<Results, String> {
    let device = case.device().autodiff();
    // Says that the first experts are the identity ones, and that masks are of the LoRA experts.
    case.text("note")?;
    let identity = case.number("identity")? as usize;
    let mut router = router(case, &config(case)?, identity, &device)?;
    let clusters = &mut router.strategy.clusters;
    clusters.centres = Buffer::new(case.float("in.centres", &device)?);
    clusters.variance = Buffer::new(case.float::<2>("in.std", &device)?.powi_scalar(2));

    let mut layer = Layer::from_linear(linear(case, &device)?);
    layer.replace_adapter(Some(MoeAdapter::new(router, bank(case, identity, &device)?)));
    let adapter = layer.adapter().ok_or("the layer has no adapter")?;
    let router = adapter.router.as_ref().ok_or("the adapter has no router")?;

    let x = case.float::<3>("in.x", &device)?.require_grad();
    let [batch, seq, _] = x.dims();
    let mut tape = RoutingTape::recording(BatchContext::new(batch, seq));
    let y = layer.forward(x.clone(), Site::new(0, "linear"), &mut tape);
    let [record] = tape.records() else {
        return Err(format!("{} routings instead of 1", tape.records().len()));
    };
    let routing = record.routing.clone();

    let l1 = |coefficient| {
        let config = L1Config { coefficient, ..L1Config::default() };
        penalty(&tape, BalanceLossConfig::L1(config))
    };
    let loss = task_loss(case, y.clone())? + l1(case.number("l1_coef")?)?;
    let distance = routing.extras.distance.clone().ok_or("no distance")?;
    let cluster = routing.extras.cluster.clone().ok_or("no cluster")?;
    let grads = loss.backward();
    Ok(vec![
        ("out.y", floats(y)),
        ("out.probs", floats(routing.probabilities)),
        ("out.weights", floats(routing.weights)),
        ("out.distance", floats(distance)),
        ("out.cluster", cluster.into_data().iter::<f32>().collect()),
        ("out.l1", floats(l1(1.0)?)),
        ("out.loss", floats(loss)),
        ("grad.in.x", gradient(&x, &grads)?),
        ("grad.w.gate", gradient(&router.weight.val(), &grads)?),
        ("grad.w.A", gradient(&adapter.experts.lora_a.val(), &grads)?),
        ("grad.w.B", gradient(&adapter.experts.lora_b.val(), &grads)?),
    ])
}

fn linear(case: &Case, device: &Device) -> Result<Linear, String> {
    let base = case.float::<2>("w.base", device)?;
    let [out_features, in_features] = base.dims();
    let mut linear = LinearConfig::new(in_features, out_features).with_bias(false).init(device);
    linear.weight = Param::from_tensor(base.transpose());
    Ok(linear.no_grad())
}

/// Identity experts, then LoRA experts with the masks of the case.
fn bank(case: &Case, identity_experts: usize, device: &Device) -> Result<LoraBank, String> {
    let identity_mode = named(
        "identity mode",
        case.text("identity_mode")?,
        &[("zero", IdentityMode::Zero), ("pass_through", IdentityMode::PassThrough)],
    )?;
    let slots = ExpertSlots { identity_experts, identity_mode, ..ExpertSlots::default() };
    let (a, b) = (case.float::<3>("w.A", device)?, case.float::<3>("w.B", device)?);
    let config = LoraBankConfig { slots, ..LoraBankConfig::new(case.number("scaling")?) };
    let bank = config.init(a, b).map_err(text)?;
    let rows = case.float::<2>("in.keep_rows", device)?;
    bank.with_masks(rows, case.float("in.keep_cols", device)?).map_err(text)
}

fn config(case: &Case) -> Result<SlidingClusterRouterConfig, String> {
    Ok(SlidingClusterRouterConfig {
        k: case.number("k")? as usize,
        gamma: case.number("gamma")?,
        num_clusters: 3,
        distance: named(
            "reduce",
            case.text("reduce")?,
            &[("max", Distance::Max), ("mean", Distance::Mean), ("rms", Distance::Rms)],
        )?,
        yielding: named(
            "yielding",
            case.text("yielding")?,
            &[("additive", Yielding::Additive), ("multiplicative", Yielding::Multiplicative)],
        )?,
        ..Default::default()
    })
}

fn named<T: Copy>(key: &str, name: &str, values: &[(&str, T)]) -> Result<T, String> {
    let value = values.iter().find(|(known, _)| *known == name);
    value.map(|(_, value)| *value).ok_or_else(|| text(format!("unknown {key} `{name}`")))
}
