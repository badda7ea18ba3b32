use burn::module::Module;
use burn::tensor::Tensor;
use lora_expert::{AnyBank, BaseLinear, ExpertBank};
use router::{AnyRouter, Reach, Router, RoutingTape, Site};

use crate::{AdaptedProjection, MoeAdapter, Projection};

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
        match &self.adapter {
            None => self.base.forward(x),
            Some(adapter) => adapter.forward(&self.base, x, site, tape),
        }
    }
}

impl<R: Router, E: ExpertBank> AdaptedLinear<R, E> {
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
