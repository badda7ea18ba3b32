use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};
use lora_expert::{AnyBank, BaseLinear, ExpertBank};
use router::{AnyRouter, Reach, Router, Routing, RoutingTape, Site};

use crate::{Adaptable, AdaptedLinear, AdaptedProjection, MoeAdapter, Projection};

/// The adapter of a model apart from it, so that many of them can share one copy of the model: in
/// a pass over the model without adapters, [`RowAdapters`](crate::RowAdapters) say which rows of
/// the batch have which.
#[derive(Debug, Clone)]
pub struct AdapterLayers<R: Router = AnyRouter, E: ExpertBank = AnyBank> {
    linears: BTreeMap<Site, AdapterLayer<R, E>>,
    blocks: BTreeMap<Site, R>,
    reach: Reach,
}

/// What is added to a linear, and to which.
#[derive(Debug, Clone)]
pub(crate) struct AdapterLayer<R: Router, E: ExpertBank> {
    adapter: MoeAdapter<R, E>,
    base: LayerBase,
}

/// The frozen linear below the experts.
#[derive(Debug, Clone)]
enum LayerBase {
    /// The model's.
    Shared,
    /// The model's without what a start took out of it, `x a b`: `[I, K]` and `[K, O]`.
    Without(Box<[Tensor<2>; 2]>),
    /// One of its own.
    Own(Box<BaseLinear>),
}

impl AdapterLayers {
    /// The adapters of a model, such as [`attach_saved`](crate::attach_saved) puts on a clone of
    /// the base model.
    ///
    /// What a start took out of the weights is kept as its factors, and not as weights; but for
    /// experts that are no additions (DoRA), for blocks that are routed as one, and over quantised
    /// linears.
    ///
    /// # Panics
    ///
    /// When one router decides for the whole model, which the layers are without.
    pub fn of<M>(model: &M) -> Self
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        assert!(model.model_router().is_none(), "layers without the router of the whole model");
        let mut blocks = BTreeMap::new();
        model.visit_blocks(&mut |_, site, block| {
            blocks.extend(block.router.clone().map(|router| (site, router)));
        });
        let in_block = |site: &Site| {
            blocks.keys().any(|block| {
                let inside = site.module.strip_prefix(block.module);
                block.layer == site.layer && inside.is_some_and(|rest| rest.starts_with('.'))
            })
        };
        let mut linears = BTreeMap::new();
        model.visit_projections(&mut |_, site, projection| {
            let Some(adapter) = projection.adapter().cloned() else { return };
            // What a quantised linear holds is the rest of a start only nearly.
            let exact = matches!(projection.linear(), BaseLinear::Dense(_));
            let adds = exact && matches!(adapter.experts, AnyBank::Lora(_)) && !in_block(&site);
            let base = match &adapter.start {
                None => LayerBase::Shared,
                Some(start) if adds => {
                    let (a, b) = start.stacked();
                    LayerBase::Without(Box::new([a.transpose(), b.transpose()]))
                }
                Some(_) => LayerBase::Own(Box::new(projection.linear().clone())),
            };
            linears.insert(site, AdapterLayer { adapter, base });
        });
        Self { linears, blocks, reach: model.reach() }
    }
}

impl<R: Router, E: ExpertBank> AdapterLayers<R, E> {
    /// What the routings of a token depend on.
    pub fn reach(&self) -> Reach {
        self.reach
    }

    /// The number of adapted linears.
    pub fn len(&self) -> usize {
        self.linears.len()
    }

    /// Whether nothing is adapted.
    pub fn is_empty(&self) -> bool {
        self.linears.is_empty()
    }

    /// What is added to the linear at `site`.
    pub(crate) fn layer(&self, site: Site) -> Option<&AdapterLayer<R, E>> {
        self.linears.get(&site)
    }

    /// What mixes the experts of the block at `site`.
    pub(crate) fn block(&self, site: Site) -> Option<&R> {
        self.blocks.get(&site)
    }

    /// The linear at `site` with its adapter, over that of the model.
    pub(crate) fn adapted(&self, linear: &BaseLinear, site: Site) -> AdaptedLinear<R, E> {
        match self.layer(site) {
            None => AdaptedLinear::with_adapter(linear.clone(), None),
            Some(AdapterLayer { adapter, base }) => {
                let base = match base {
                    LayerBase::Own(own) => &**own,
                    _ => linear,
                };
                AdaptedLinear::with_adapter(base.clone(), Some(adapter.clone()))
            }
        }
    }
}

impl<R: Router, E: ExpertBank> AdapterLayer<R, E> {
    /// The output of the linear with the adapter's part added; `base_output` is that of the model's
    /// linear, `[B, S, O]`, for `x`, `[B, S, I]`. The routing goes on the tape.
    pub(crate) fn forward(
        &self,
        base: &BaseLinear,
        base_output: Tensor<3>,
        x: Tensor<3>,
        site: Site,
        tape: &mut RoutingTape,
    ) -> Tensor<3> {
        let [batch, seq, features] = x.dims();
        let [_, _, outputs] = base_output.dims();
        let x = x.reshape([batch * seq, features]);
        let y = base_output.reshape([batch * seq, outputs]);
        let MoeAdapter { router, experts, .. } = &self.adapter;
        let routing = router.as_ref().map(|router| router.route(x.clone(), &tape.context_at(site)));
        if let Some(routing) = &routing {
            let shared = experts.shared_experts();
            tape.push_beside(shared, site, routing, || experts.parameters());
        }
        let y = match &self.base {
            LayerBase::Own(own) => experts.forward(own, x, routing.as_ref(), None),
            LayerBase::Shared => onto(experts, base, y, x, routing),
            LayerBase::Without(factors) => {
                let [a, b] = &**factors;
                let taken = fused_ops::linear(x.clone(), a.clone(), None);
                let y = y - fused_ops::linear(taken, b.clone(), None);
                onto(experts, base, y, x, routing)
            }
        };
        y.reshape([batch, seq, outputs])
    }
}

/// The experts' sum on an output that was computed before.
fn onto<E: ExpertBank>(
    experts: &E,
    base: &BaseLinear,
    y: Tensor<2>,
    x: Tensor<2>,
    routing: Option<Routing>,
) -> Tensor<2> {
    let routing = routing.unwrap_or_else(|| {
        let shape = [x.dims()[0], experts.num_experts()];
        let ones = Tensor::<2>::ones(shape, (&x.device(), DType::F32));
        Routing::dense(ones.clone(), ones.clone(), ones)
    });
    experts.forward_onto(base, y, x, &routing, None)
}
