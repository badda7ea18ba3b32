use burn::module::Module;
use burn::tensor::Tensor;
use lora_expert::{AnyBank, BaseLinear, ExpertBank};
use router::{AnyRouter, Reach, Router, RoutingTape, Site};

use crate::together::{Reader, forward_together, goes_together};
use crate::{
    AdaptedProjection, FeedForwardPaths, GatedFeedForward, MoeAdapter, Projection, RowAdapters,
};

/// A frozen linear, with or without an adapter: `y = W x + b + adapter(x)`.
///
/// Without an adapter it is the linear and costs nothing more.
#[derive(Module, Debug)]
pub struct AdaptedLinear<R: Router = AnyRouter, E: ExpertBank = AnyBank> {
    base: BaseLinear,
    adapter: Option<MoeAdapter<R, E>>,
}

impl<R: Router, E: ExpertBank> Projection for AdaptedLinear<R, E> {
    type Router = R;
    type Experts = E;

    fn from_linear(linear: impl Into<BaseLinear>) -> Self {
        Self { base: linear.into(), adapter: None }
    }

    fn linear(&self) -> &BaseLinear {
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
            None => self.base.forward(x),
            Some(adapter) => adapter.forward(&self.base, x, site, tape),
        }
    }

    fn forward_siblings<const N: usize>(
        siblings: [(&Self, Site); N],
        x: Tensor<3>,
        tape: &mut RoutingTape,
    ) -> [Tensor<3>; N] {
        if tape.carried().is_none() && goes_together(&x, tape) {
            let readers = siblings.map(|(linear, site)| {
                tape.observe(site, &x);
                Reader { base: &linear.base, adapter: linear.adapter.as_ref(), site }
            });
            return forward_together(readers, x, tape);
        }
        siblings.map(|(linear, site)| linear.forward(x.clone(), site, tape))
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
    pub(crate) fn with_adapter(base: BaseLinear, adapter: Option<MoeAdapter<R, E>>) -> Self {
        Self { base, adapter }
    }

    /// Replaces the frozen linear, as by what an adapter was merged into. The new one is frozen too.
    pub fn replace_linear(&mut self, linear: impl Into<BaseLinear>) {
        self.base = linear.into().no_grad();
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
        self.base = self.base.with_weight(weight);
    }
}
