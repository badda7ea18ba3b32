use lora_moe::burn::module::Param;
use lora_moe::burn::tensor::{Device, Tensor};
use lora_moe::router::{
    BatchContext, Buffer, Distance, Router, Routing, SlidingClusterRouterConfig, Yielding,
};

use super::layer::{floats, gradient, router, task_loss, text};
use super::penalties::l1;
use super::{Case, Results};

/// SLIM: LoRA experts that yield to identity experts far from the clusters, with masked factors.
pub fn compute(case: &Case) -> Result<Results, String> {
    let device = Device::flex().autodiff();
    // Says that the first experts are the identity ones, and that masks are of the LoRA experts.
    case.text("note")?;
    let identity = case.number("identity")? as usize;
    let mut router = router(case, &config(case)?, identity, &device)?;
    let clusters = &mut router.strategy.clusters;
    clusters.centres = Buffer::new(case.float("in.centres", &device)?);
    clusters.variance = Buffer::new(case.float::<2>("in.std", &device)?.powi_scalar(2));

    let x = case.float::<3>("in.x", &device)?.require_grad();
    let [batch, seq, in_features] = x.dims();
    let tokens = x.clone().reshape([batch * seq, in_features]);
    let routing = router.route(tokens.clone(), &BatchContext::new(batch, seq));

    let a = Param::from_tensor(case.float::<3>("w.A", &device)?);
    let b = Param::from_tensor(case.float::<3>("w.B", &device)?);
    let base = case.float::<2>("w.base", &device)?;
    let [out_features, _] = base.dims();
    let delta = experts(case, &a.val(), &b.val(), tokens.clone(), &routing, identity)?;
    let y = tokens.matmul(base.transpose()) + delta;
    let y = y.reshape([batch, seq, out_features]);

    let l1 = l1(&[a.val(), b.val()]).ok_or("no parameters")?;
    let loss = task_loss(case, y.clone())? + l1.clone() * case.number("l1_coef")?;
    let distance = routing.extras.distance.clone().ok_or("no distance")?;
    let cluster = routing.extras.cluster.clone().ok_or("no cluster")?;
    let grads = loss.backward();
    Ok(vec![
        ("out.y", floats(y)),
        ("out.probs", floats(routing.probabilities)),
        ("out.weights", floats(routing.weights)),
        ("out.distance", floats(distance)),
        ("out.cluster", cluster.into_data().iter::<f32>().collect()),
        ("out.l1", floats(l1)),
        ("out.loss", floats(loss)),
        ("grad.in.x", gradient(&x, &grads)?),
        ("grad.w.gate", gradient(&router.weight.val(), &grads)?),
        ("grad.w.A", gradient(&a.val(), &grads)?),
        ("grad.w.B", gradient(&b.val(), &grads)?),
    ])
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

/// `sum_i w_i s (rows_i o B_i) (A_i o cols_i) x` over the LoRA experts; identity experts add 0.
fn experts(
    case: &Case,
    a: &Tensor<3>,
    b: &Tensor<3>,
    tokens: Tensor<2>,
    routing: &Routing,
    identity: usize,
) -> Result<Tensor<2>, String> {
    match case.text("identity_mode")? {
        "zero" => {}
        other => return Err(format!("unknown identity mode `{other}`")),
    }
    let device = tokens.device();
    let a = a.clone() * case.float::<2>("in.keep_cols", &device)?.unsqueeze_dim(1);
    let b = b.clone() * case.float::<2>("in.keep_rows", &device)?.unsqueeze_dim(2);
    let [experts, ..] = a.dims();
    // [E, T, O]
    let hidden = tokens.unsqueeze_dim::<3>(0).matmul(a.swap_dims(1, 2));
    let outputs = hidden.matmul(b.swap_dims(1, 2));
    let weights = routing.weights.clone().narrow(1, identity, experts).transpose();
    let sum: Tensor<2> = (outputs * weights.unsqueeze_dim(2)).sum_dim(0).squeeze_dim(0);
    Ok(sum * case.number("scaling")?)
}
