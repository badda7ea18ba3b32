use burn::module::{Module, ModuleDisplay};
use burn::tensor::Tensor;
use lora_expert::{AnyBank, BaseLinear, ExpertBank};
use router::{AnyRouter, Reach, Router, RoutingTape, Site, XLoraClassifier};

use crate::{AdapterError, AdapterState, FeedForwardPaths, GatedFeedForward, TokenModule};

/// A layer that a model calls where it would call a linear.
///
/// Models are generic over it, so the trainable model is the same type as the base model.
/// [`BaseLinear`] is one (a model that cannot be adapted), and
/// [`AdaptedLinear`](crate::AdaptedLinear) is the default.
pub trait Projection: Module + ModuleDisplay {
    /// What mixes its experts, and those of a whole feed-forward block.
    type Router: Router;
    /// Its experts.
    type Experts: ExpertBank;

    /// Takes over a linear of the base model.
    fn from_linear(linear: impl Into<BaseLinear>) -> Self;

    /// The linear of the base model.
    fn linear(&self) -> &BaseLinear;

    /// Its experts, where it has any.
    fn experts(&self) -> Option<&Self::Experts> {
        None
    }

    /// What its routing of a token depends on. Default: it routes nothing.
    fn reach(&self) -> Reach {
        Reach::Token
    }

    /// Projects the activations of a batch.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch_size, seq_len, in_features]`, of the batch that `tape` describes
    /// - result: `[batch_size, seq_len, out_features]`
    fn forward(&self, x: Tensor<3>, site: Site, tape: &mut RoutingTape) -> Tensor<3>;

    /// Projects the same activations by several linears, each at its place. Default: one after the other.
    ///
    /// # Shapes
    ///
    /// As [`forward`](Self::forward).
    fn forward_siblings<const N: usize>(
        siblings: [(&Self, Site); N],
        x: Tensor<3>,
        tape: &mut RoutingTape,
    ) -> [Tensor<3>; N] {
        siblings.map(|(projection, site)| projection.forward(x.clone(), site, tape))
    }

    /// The output of a block without a router of its own, where the tape gives some rows one.
    /// Default: it never does.
    ///
    /// # Shapes
    ///
    /// As [`GatedFeedForward::forward`].
    fn forward_block(
        block: &GatedFeedForward<Self>,
        x: &Tensor<3>,
        layer: usize,
        paths: &FeedForwardPaths,
        tape: &mut RoutingTape,
    ) -> Option<Tensor<3>> {
        let _ = (block, x, layer, paths, tape);
        None
    }
}

impl Projection for BaseLinear {
    type Router = AnyRouter;
    type Experts = AnyBank;

    fn from_linear(linear: impl Into<BaseLinear>) -> Self {
        linear.into()
    }

    fn linear(&self) -> &BaseLinear {
        self
    }

    fn forward(&self, x: Tensor<3>, _site: Site, _tape: &mut RoutingTape) -> Tensor<3> {
        BaseLinear::forward(self, x)
    }
}

/// Is shown a block, with its path and its place.
pub type BlockVisitor<'a, P> = dyn FnMut(&str, Site, &GatedFeedForward<P>) + 'a;
/// Is given a block to change, with its path and its place.
pub type BlockVisitorMut<'a, P> = dyn FnMut(&str, Site, &mut GatedFeedForward<P>) + 'a;

/// A model whose linears can be adapted.
pub trait Adaptable: Module + ModuleDisplay {
    /// The layer that stands in for its linears.
    type Projection: Projection;

    /// Visits every projection in the order of the forward pass, with its path as Hugging Face
    /// checkpoints name it, as in `model.layers.0.mlp.gate_proj`.
    fn visit_projections(&self, visit: &mut dyn FnMut(&str, Site, &Self::Projection));

    /// As [`visit_projections`](Self::visit_projections), to change them.
    fn visit_projections_mut(&mut self, visit: &mut dyn FnMut(&str, Site, &mut Self::Projection));

    /// What the routings of a token depend on, outside of training: the widest of all routers.
    fn reach(&self) -> Reach {
        let mut reach = Reach::Token;
        self.visit_projections(&mut |_, _, projection| reach = reach.max(projection.reach()));
        self.visit_blocks(&mut |_, _, block| {
            reach = reach.max(block.router.as_ref().map_or(Reach::Token, Router::reach));
        });
        reach
    }

    /// PEFT's name of what the model is for, as in `CAUSAL_LM`, which is written into the folders
    /// of its adapters. Default: it has none.
    fn task_type(&self) -> Option<&'static str> {
        None
    }

    /// Whether a projection is in an expert of a base model that is itself a mixture. It sees only
    /// the tokens of its expert, so that its adapter can have no router. Default: none is.
    fn is_of_expert(&self, path: &str) -> bool {
        let _ = path;
        false
    }

    /// Holds the gate and up projections of the experts of a base model that is itself a mixture as
    /// one linear, `gate_up_proj`, as the parameters of `target_parameters` do; what it computes
    /// stays the same. Adapters on them are dropped. Default: nothing.
    ///
    /// # Errors
    ///
    /// [`AdapterError::Quantized`] for quantised linears, which cannot be put together.
    fn fuse_experts(&mut self) -> Result<(), AdapterError> {
        Ok(())
    }

    /// Modules without weights of their own, with those that have them, as in `lm_head` and
    /// `model.embed_tokens`. Default: none.
    fn tied_modules(&self) -> Vec<(&'static str, &'static str)> {
        Vec::new()
    }

    /// Visits the modules with a row for each token, with their paths, as in `model.embed_tokens`; a
    /// head that is tied to the embeddings is none of its own. Default: there are none.
    fn visit_token_modules_mut(&mut self, visit: &mut dyn FnMut(&str, TokenModule<'_>)) {
        let _ = visit;
    }

    /// The shapes of those modules, `[V, H]`. Default: there are none.
    fn token_shapes(&self) -> Vec<(&'static str, [usize; 2])> {
        Vec::new()
    }

    /// Makes room for so many tokens at least, where the model knows how. Default: nothing.
    fn reserve_tokens(&mut self, count: usize) {
        let _ = count;
    }

    /// Gives whole modules the shapes that they have in a saved adapter, where the model knows how:
    /// embeddings with more rows, a head with weights of its own. Default: nothing.
    fn fit(&mut self, state: &AdapterState) {
        let _ = state;
    }

    /// The size of the hidden states that a first pass gives a router of the whole model. Default:
    /// `None`, the model makes no first pass and can have no such router.
    fn first_pass_size(&self) -> Option<usize> {
        None
    }

    /// What decides for all adapted linears of a pass before it, from the hidden states of a first
    /// one. Default: nothing.
    fn model_router(&self) -> Option<&XLoraClassifier> {
        None
    }

    /// Gives the model a router, or takes it away. Default: a model that makes no first pass keeps
    /// none.
    fn replace_model_router(&mut self, router: Option<XLoraClassifier>) {
        let _ = router;
    }

    /// Visits every feed-forward block that can have one router for all its projections, with its
    /// path, as in `model.layers.0.mlp`. Default: the model has none.
    fn visit_blocks(&self, visit: &mut BlockVisitor<'_, Self::Projection>) {
        let _ = visit;
    }

    /// As [`visit_blocks`](Self::visit_blocks), to change them.
    fn visit_blocks_mut(&mut self, visit: &mut BlockVisitorMut<'_, Self::Projection>) {
        let _ = visit;
    }
}

/// A projection that can carry an adapter.
pub trait AdaptedProjection: Projection {
    /// What it adds to its linear.
    type Adapter: Module;

    /// The adapter, where there is one.
    fn adapter(&self) -> Option<&Self::Adapter>;

    /// Gives it an adapter, or takes it away, and returns the one that was there.
    fn replace_adapter(&mut self, adapter: Option<Self::Adapter>) -> Option<Self::Adapter>;

    /// Replaces the weight of the frozen linear, `[in_features, out_features]`; a quantised linear
    /// quantises it.
    fn replace_weight(&mut self, weight: Tensor<2>);
}
