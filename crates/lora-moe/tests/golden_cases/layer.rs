//! What the cases of adapted linears share.

use lora_moe::burn::module::{Module, Param};
use lora_moe::burn::nn::LinearConfig;
use lora_moe::burn::tensor::{Device, Gradients, Tensor};
use lora_moe::lora_expert::LoraBankConfig;
use lora_moe::moe_adapter::{AdaptedLinear, AdaptedProjection, MoeAdapter, Projection};
use lora_moe::router::{
    BatchContext, GatedRouter, Router, RouterShape, Routing, RoutingTape, Site, Strategy,
    StrategyConfig,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Case, Results};

/// A linear with the weight `w.base` and the LoRA experts `w.A`, `w.B`.
pub fn layer<R: Router>(
    case: &Case,
    router: R,
    scaling: f64,
    device: &Device,
) -> Result<AdaptedLinear<R>, String> {
    let base = case.float::<2>("w.base", device)?;
    let [out_features, in_features] = base.dims();
    let mut linear = LinearConfig::new(in_features, out_features).with_bias(false).init(device);
    linear.weight = Param::from_tensor(base.transpose());
    let (a, b) = (case.float::<3>("w.A", device)?, case.float::<3>("w.B", device)?);
    let bank = LoraBankConfig::new(scaling).init(a, b).map_err(text)?;
    let mut layer = AdaptedLinear::from_linear(linear.no_grad());
    layer.replace_adapter(Some(MoeAdapter::new(router, bank)));
    Ok(layer)
}

/// A gated router with the weight `w.gate`; `identity_experts` of its experts are identity ones.
pub fn router<C: StrategyConfig>(
    case: &Case,
    config: &C,
    identity_experts: usize,
    device: &Device,
) -> Result<GatedRouter<C::Strategy>, String> {
    let weight = case.float::<2>("w.gate", device)?;
    let [experts, in_features] = weight.dims();
    let shape = RouterShape::new(in_features, experts).with_identity_experts(identity_experts);
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut router = config.init(&shape, &mut rng, device).map_err(text)?;
    router.weight = Param::from_tensor(weight);
    Ok(router)
}

/// A forward pass through an adapted linear.
pub struct Pass<R: Router> {
    /// The layer.
    pub layer: AdaptedLinear<R>,
    /// Its input.
    pub x: Tensor<3>,
    /// Its output.
    pub y: Tensor<3>,
    /// Its output with experts that are computed as their formula reads.
    pub plain: Tensor<3>,
    /// What its router decided.
    pub routing: Routing,
    /// The tape.
    pub tape: RoutingTape,
}

impl<R: Router> Pass<R> {
    /// Passes `in.x` through `layer`; `context` is made for a batch of its size.
    pub fn run(
        case: &Case,
        layer: AdaptedLinear<R>,
        context: impl FnOnce(BatchContext) -> Result<BatchContext, String>,
        device: &Device,
    ) -> Result<Self, String> {
        let x = case.float::<3>("in.x", device)?.require_grad();
        let [batch, seq, in_features] = x.dims();
        let mut tape = RoutingTape::recording(context(BatchContext::new(batch, seq))?);
        let y = layer.forward(x.clone(), Site::new(0, "linear"), &mut tape);
        let [record] = tape.records() else {
            return Err(format!("{} routings instead of 1", tape.records().len()));
        };
        let routing = record.routing.clone();
        let adapter = layer.adapter().ok_or("the layer has no adapter")?;
        let flat = x.clone().reshape([batch * seq, in_features]);
        let plain = adapter.experts.forward_reference(flat, Some(&routing));
        let plain = layer.linear().forward(x.clone()) + plain.reshape(y.dims());
        Ok(Self { layer, x, y, plain, routing, tape })
    }

    /// The router.
    pub fn router(&self) -> Result<&R, String> {
        let adapter = self.layer.adapter().ok_or("the layer has no adapter")?;
        adapter.router.as_ref().ok_or_else(|| "the adapter has no router".into())
    }
}

impl<S: Strategy> Pass<GatedRouter<S>> {
    /// What all cases of adapted linears have: output, weights, loss and gradients.
    pub fn results(&self, loss: Tensor<1>) -> Result<(Results, Gradients), String> {
        let grads = loss.clone().backward();
        let experts = &self.layer.adapter().ok_or("the layer has no adapter")?.experts;
        let results = vec![
            ("out.y", floats(self.y.clone())),
            ("out.y", floats(self.plain.clone())),
            ("out.weights", floats(self.routing.weights.clone())),
            ("out.probs", floats(self.routing.probabilities.clone())),
            ("out.loss", floats(loss)),
            ("grad.in.x", gradient(&self.x, &grads)?),
            ("grad.w.gate", gradient(&self.router()?.weight.val(), &grads)?),
            ("grad.w.A", gradient(&experts.lora_a.val(), &grads)?),
            ("grad.w.B", gradient(&experts.lora_b.val(), &grads)?),
        ];
        Ok((results, grads))
    }
}

/// The loss of the task alone.
pub fn task_loss(case: &Case, y: Tensor<3>) -> Result<Tensor<1>, String> {
    let device = y.device();
    match case.text("task_loss")? {
        "mse" => Ok((y - case.float("in.target", &device)?).powi_scalar(2).mean()),
        other => Err(format!("unknown task loss `{other}`")),
    }
}

/// The gradient of a tensor.
pub fn gradient<const D: usize>(of: &Tensor<D>, grads: &Gradients) -> Result<Vec<f32>, String> {
    of.grad(grads).map(floats).ok_or_else(|| "a parameter has no gradient".into())
}

/// The values of a tensor.
pub fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// An error in words.
pub fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
