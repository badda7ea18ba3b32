use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::fit::check_balance;
use crate::plan::Plan;
use crate::tokens::tokens_by_module;
use crate::trainable::{ModelPath, trainable_parameters};
use crate::{Adaptable, AdaptedLinear, AdapterConfig, AdapterError, BiasTraining, Projection};

/// How much of a model an adapter trains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdapterSize {
    /// The linears that it adapts.
    pub linears: usize,
    /// The parameters of experts.
    pub experts: usize,
    /// The parameters of routers.
    pub routers: usize,
    /// The parameters of the base model that are trained as a whole, and rows of tokens.
    pub whole: usize,
    /// The frozen weights that the start takes something out of.
    pub changed: usize,
}

impl AdapterSize {
    /// All parameters that are trained.
    pub fn trainable(&self) -> usize {
        self.experts + self.routers + self.whole
    }

    /// Counts what an adapter would train, from the shapes of the model alone: no weight is read, and
    /// nothing is started.
    ///
    /// # Errors
    ///
    /// [`AdapterError`] when the configuration does not fit the model.
    pub fn of<M>(model: &M, config: &AdapterConfig) -> Result<Self, AdapterError>
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        let plan = Plan::new(model, config)?;
        check_balance(model, config, &plan)?;
        let mut size = Self { linears: plan.sizes.len(), ..Self::default() };
        // Whatever it draws, a router has as many parameters.
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut failed = None;
        model.visit_projections(&mut |path, _, projection| {
            let Some(sizes) = plan.sizes.get(path) else { return };
            let base = projection.linear();
            let [inputs, outputs] = base.dims();
            if config.init.takes_out() {
                size.changed += inputs * outputs;
            }
            let trained = sizes.num_experts + sizes.shared_experts;
            size.experts +=
                config.experts.trainable_parameters(trained, sizes.rank, inputs, outputs);
            if sizes.routed_experts() > 1 && sizes.routes {
                match config.init_router(inputs, sizes, &base.device(), &mut rng) {
                    Ok(router) => size.routers += trainable_parameters(&router),
                    Err(error) => failed = Some(error),
                }
            }
        });
        model.visit_blocks(&mut |path, _, block| {
            let Some(sizes) = plan.blocks.get(path) else { return };
            let base = block.gate_proj.linear();
            match config.init_router(base.dims()[0], sizes, &base.device(), &mut rng) {
                Ok(router) => size.routers += trainable_parameters(&router),
                Err(error) => failed = Some(error),
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(sites) = &plan.decided {
            let router = plan.model_router(model, config, sites.clone(), &mut rng)?;
            size.routers += trainable_parameters(&router);
        }
        size.whole = whole(model, config, &|path| plan.sizes.contains_key(path))?;
        if let Some(indices) = &config.trainable_token_indices {
            let shapes = model.token_shapes();
            for (path, tokens) in tokens_by_module(model, indices)? {
                let row = shapes.iter().find(|(module, _)| *module == path);
                size.whole += tokens.len() * row.map_or(0, |(_, shape)| shape[1]);
            }
        }
        Ok(size)
    }
}

/// The parameters that [`unfreeze`](crate::trainable::unfreeze) would train.
fn whole<M: Module>(
    model: &M,
    config: &AdapterConfig,
    adapted: &dyn Fn(&str) -> bool,
) -> Result<usize, AdapterError> {
    struct Count<'a> {
        path: ModelPath,
        is_whole: &'a dyn Fn(&str) -> bool,
        is_bias: &'a dyn Fn(&str) -> bool,
        count: usize,
    }
    impl ModuleVisitor for Count<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let (module, name) = self.path.split();
            if (self.is_whole)(&module) || (name == "bias" && (self.is_bias)(&module)) {
                self.count += param.lazy_shape().num_elements();
            }
        }
    }
    let matcher = config.modules_to_save.as_ref().map(|modules| modules.matcher()).transpose()?;
    let is_whole = |module: &str| matcher.as_ref().is_some_and(|m| m.is_match_within(module));
    let is_bias = |module: &str| match config.bias {
        BiasTraining::None => false,
        BiasTraining::All => true,
        BiasTraining::LoraOnly => adapted(module),
    };
    let path = ModelPath::default();
    let mut count = Count { path, is_whole: &is_whole, is_bias: &is_bias, count: 0 };
    model.visit(&mut count);
    Ok(count.count)
}
