use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use fused_ops::linear;
use lora_expert::{AnyBank, ExpertBank};
use router::{AnyRouter, Reach, Router, RoutingTape, Site};

use crate::{
    AdaptedProjection, FeedForwardPaths, GatedFeedForward, MoeAdapter, Projection, RowAdapters,
};

/// A frozen linear, with or without an adapter: `y = W x + b + adapter(x)`.
///
/// Without an adapter it is the linear and costs nothing more.
#[derive(Module, Debug)]
pub struct AdaptedLinear<R: Router = AnyRouter, E: ExpertBank = AnyBank> {
    base: Linear,
    adapter: Option<MoeAdapter<R, E>>,
}

impl<R: Router, E: ExpertBank> Projection for AdaptedLinear<R, E> {
    type Router = R;
    type Experts = E;

    fn from_linear(linear: Linear) -> Self {
        Self { base: linear, adapter: None }
    }

    fn linear(&self) -> &Linear {
        &self.base
    }

    fn experts(&self) -> Option<&E> {
        self.adapter.as_ref().map(|adapter| &adapter.experts)
    }

    fn reach(&self) -> Reach {
        let router = self.adapter.as_ref().and_then(|adapter| adapter.router.as_ref());
        router.map_or(Reach::Token, Router::reach)
    }

    fn forward(&self, x: Tensor<3>, site: Site, tape: &mut RoutingTape) -> Tensor<3> {
        tape.observe(site, &x);
        let carried = tape.carried();
        if let Some(rows) = carried.as_ref().and_then(|rows| rows.downcast_ref()) {
            return RowAdapters::<R, E>::forward(rows, &self.base, x, site, tape);
        }
        match &self.adapter {
            None => {
                let bias = self.base.bias.as_ref().map(|bias| bias.val());
                linear(x, self.base.weight.val(), bias)
            }
            Some(adapter) => adapter.forward(&self.base, x, site, tape),
        }
    }

    fn forward_block(
        block: &GatedFeedForward<Self>,
        x: &Tensor<3>,
        layer: usize,
        paths: &FeedForwardPaths,
        tape: &mut RoutingTape,
    ) -> Option<Tensor<3>> {
        let carried = tape.carried()?;
        carried.downcast_ref::<RowAdapters<R, E>>()?.forward_block(block, x, layer, paths, tape)
    }
}

impl<R: Router, E: ExpertBank> AdaptedLinear<R, E> {
    /// A frozen linear with an adapter.
    pub(crate) fn with_adapter(base: Linear, adapter: Option<MoeAdapter<R, E>>) -> Self {
        Self { base, adapter }
    }

    /// Replaces the frozen linear, as by what an adapter was merged into. The new one is frozen too.
    pub fn replace_linear(&mut self, linear: Linear) {
        self.base = linear.no_grad();
    }
}

impl<R: Router, E: ExpertBank> AdaptedProjection for AdaptedLinear<R, E> {
    type Adapter = MoeAdapter<R, E>;

    fn adapter(&self) -> Option<&Self::Adapter> {
        self.adapter.as_ref()
    }

    fn replace_adapter(&mut self, adapter: Option<Self::Adapter>) -> Option<Self::Adapter> {
        std::mem::replace(&mut self.adapter, adapter)
    }

    fn replace_weight(&mut self, weight: Tensor<2>) {
        self.base.weight = Param::from_tensor(weight).no_grad();
    }
}
