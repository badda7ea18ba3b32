use std::collections::{BTreeMap, BTreeSet};

use rand_chacha::ChaCha8Rng;
use ranks::Ranks;
use router::{RouterConfig, RouterError, RouterShape, Site, XLoraClassifier};
use svd_init::{BankShape, ExpertStart, LayerStatistics, SvdCache};

use crate::adapt::adapt_selected;
use crate::build::refined;
use crate::ids::with_stable_ids;
use crate::select::{Selection, select};
use crate::shared_starts::{Layers, shared_starts};
use crate::state::MODEL_ROUTER;
use crate::tokens::attach_tokens;
use crate::trainable::unfreeze;
use crate::{
    Adaptable, AdaptedLinear, AdapterConfig, AdapterError, AdapterState, BaseLinear, BuiltAdapter,
    LayerSizes, Projection, RouterScope,
};

/// Which linears of a model get what.
pub(crate) struct Plan {
    /// The sizes of the adapter of each linear, by path.
    pub(crate) sizes: BTreeMap<String, LayerSizes>,
    /// The blocks that get a router, with its sizes.
    pub(crate) blocks: BTreeMap<String, LayerSizes>,
    /// The linears that a router of the whole model decides for; `None` where it gets none.
    pub(crate) decided: Option<Vec<Site>>,
}

impl Plan {
    pub(crate) fn new<M>(model: &M, config: &AdapterConfig) -> Result<Self, AdapterError>
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        config.check()?;
        if !config.has_experts() {
            let (sizes, blocks) = (BTreeMap::new(), BTreeMap::new());
            return Ok(Self { sizes, blocks, decided: None });
        }
        let layers = config.layers_to_transform.as_ref();
        let exclude = config.exclude_modules.as_ref();
        let parameters = config.target_parameters.as_deref();
        let Selection { paths, num_layers } =
            select(model, &config.target_modules, exclude, parameters, layers)?;
        let patterns = config.size_patterns()?;
        let mut sizes = BTreeMap::new();
        let mut failed = None;
        model.visit_projections(&mut |path, site, _| {
            if paths.contains(path) {
                match config.sizes_of(path, site.layer, num_layers, &patterns) {
                    Ok(of_path) => drop(sizes.insert(path.to_owned(), of_path)),
                    Err(error) => failed = Some(error),
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let routed = |(path, sizes): (&String, &LayerSizes)| {
            let routed = sizes.routed_experts() > 1 && sizes.routes;
            (routed && model.is_of_expert(path)).then(|| path.clone())
        };
        if let Some(path) = sizes.iter().find_map(routed) {
            return Err(AdapterError::RoutedExpert { path });
        }
        let mut blocks = BTreeMap::new();
        if config.router_scope == RouterScope::FeedForward {
            for sizes in sizes.values_mut() {
                sizes.num_experts = 1;
            }
            model.visit_blocks(&mut |block, site, _| {
                let of_layer = config.sizes(site.layer, num_layers);
                for (path, sizes) in sizes.iter_mut() {
                    if path.strip_prefix(block).is_some_and(|rest| rest.starts_with('.')) {
                        *sizes = LayerSizes {
                            rank: sizes.rank,
                            total_rank: sizes.total_rank,
                            lora_alpha: sizes.lora_alpha,
                            routes: false,
                            ..of_layer
                        };
                        blocks.insert(block.to_owned(), of_layer);
                    }
                }
            });
            if blocks.is_empty() {
                return Err(AdapterError::NoFeedForward);
            }
        }
        let mut decided = None;
        if config.router_scope == RouterScope::Model {
            if model.first_pass_size().is_none() {
                return Err(AdapterError::NoFirstPass);
            }
            let mut sites = Vec::with_capacity(sizes.len());
            model.visit_projections(&mut |path, site, _| {
                if let Some(sizes) = sizes.get_mut(path) {
                    sizes.routes = false;
                    sites.push(site);
                }
            });
            decided = Some(sites);
        }
        let plan = Self { sizes, blocks, decided };
        plan.check_linears(model, config)?;
        Ok(plan)
    }

    /// Whether experts and their start fit each linear, as far as its shape tells.
    fn check_linears<M>(&self, model: &M, config: &AdapterConfig) -> Result<(), AdapterError>
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        let mut failed = None;
        model.visit_projections(&mut |path, _, projection| {
            let Some(sizes) = self.sizes.get(path).filter(|_| failed.is_none()) else { return };
            if let Err(problem) = config.check_linear(sizes, path, projection.linear().dims()) {
                let problem = Box::new(problem);
                failed = Some(AdapterError::Linear { path: path.to_owned(), problem });
            }
        });
        failed.map_or(Ok(()), Err)
    }

    /// The starts of all linears whose experts have some, by path.
    pub(crate) fn starts<M>(
        &self,
        model: &M,
        config: &AdapterConfig,
        statistics: &mut BTreeMap<String, LayerStatistics>,
        ranks: &dyn Ranks,
        cache: Option<&SvdCache>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<BTreeMap<String, ExpertStart>, AdapterError>
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        let mut paths: Vec<String> = Vec::new();
        let mut shapes: Vec<BankShape> = Vec::new();
        let mut linears: Vec<BaseLinear> = Vec::new();
        model.visit_projections(&mut |path, _, projection| {
            let Some(sizes) = self.sizes.get(path) else { return };
            let base = projection.linear();
            let shape = config.bank_shape(sizes, base.dims());
            if config.experts.factors(shape.num_experts).is_some() {
                paths.push(path.to_owned());
                shapes.push(shape);
                linears.push(base.clone());
            }
        });
        let Some(device) = linears.first().map(BaseLinear::device) else {
            return Ok(BTreeMap::new());
        };
        let of_path = |path: &String| statistics.remove(path).unwrap_or_default();
        let layers = Layers {
            shapes: &shapes,
            statistics: &paths.iter().map(of_path).collect::<Vec<_>>(),
            // A quantised weight is made dense only here.
            weight: &|at| linears[at].weight(),
            refined: &|at, start, weight| {
                refined(&config.init, &linears[at], start, weight, &shapes[at])
            },
            device: &device,
        };
        let starts = shared_starts(ranks, &config.init, &layers, cache, progress)?;
        Ok(paths.into_iter().zip(starts).collect())
    }

    /// Whether the factors of a state are as many numbers as the sizes say, before memory is
    /// allocated by the sizes; [`check_state`] tells the rest.
    pub(crate) fn check_factors(
        &self,
        config: &AdapterConfig,
        state: &AdapterState,
        origin: &str,
    ) -> Result<(), AdapterError> {
        for (path, sizes) in &self.sizes {
            let trained = sizes.num_experts + sizes.shared_experts;
            let Some((of_a, of_b)) = config.experts.factors(trained) else { continue };
            for (factor, experts) in [("lora_A", of_a), ("lora_B", of_b)] {
                let name = format!("{path}.{factor}.weight");
                let Some(data) = state.get(&name) else { continue };
                let (experts, rank) = (experts.max(1), sizes.rank.max(1));
                if data.num_elements() % (experts * rank) != 0
                    || data.num_elements() < experts * rank
                {
                    return Err(AdapterError::TensorMismatch {
                        origin: origin.into(),
                        name,
                        found: format!("{:?}", data.shape().as_slice()),
                        expected: format!("of {experts} experts of rank {rank}"),
                    });
                }
            }
        }
        Ok(())
    }

    /// The router of the whole model, which decides for `sites`.
    pub(crate) fn model_router<M>(
        &self,
        model: &M,
        config: &AdapterConfig,
        sites: Vec<Site>,
        rng: &mut ChaCha8Rng,
    ) -> Result<XLoraClassifier, AdapterError>
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        let RouterConfig::XLora(classifier) = &config.router else {
            return Err(RouterError::WholeModel.into());
        };
        let hidden_size = model.first_pass_size().ok_or(AdapterError::NoFirstPass)?;
        let experts = config.num_experts + config.identity_experts;
        let shape =
            RouterShape::new(hidden_size, experts).with_identity_experts(config.identity_experts);
        let mut device = None;
        model.visit_projections(&mut |_, _, projection| {
            device.get_or_insert_with(|| projection.linear().device());
        });
        let device = device.ok_or(AdapterError::NoTargets)?;
        Ok(classifier.init(&shape, sites, rng, &device)?)
    }

    /// Puts on the model what `build` makes of each linear, the routers of blocks,
    /// and what is trained as a whole.
    pub(crate) fn apply<M>(
        &self,
        model: &mut M,
        config: &AdapterConfig,
        rng: &mut ChaCha8Rng,
        mut build: impl FnMut(
            &str,
            &LayerSizes,
            &BaseLinear,
            &mut ChaCha8Rng,
        ) -> Result<BuiltAdapter, AdapterError>,
    ) -> Result<usize, AdapterError>
    where
        M: Adaptable<Projection = AdaptedLinear>,
    {
        let mut adapted = model.clone();
        let selected: BTreeSet<String> = self.sizes.keys().cloned().collect();
        let count = adapt_selected(&mut adapted, &selected, |path, _, linear| {
            build(path, &self.sizes[path], linear, rng)
        })?;
        let mut failed = None;
        adapted.visit_blocks_mut(&mut |path, _, block| {
            if let Some(sizes) = self.blocks.get(path) {
                let base = block.gate_proj.linear();
                match config.init_router(base.dims()[0], sizes, &base.device(), rng) {
                    Ok(router) => block.router = Some(with_stable_ids(router, path)),
                    Err(error) => failed = Some(error),
                }
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if let Some(sites) = &self.decided {
            let router = self.model_router(&adapted, config, sites.clone(), rng)?;
            adapted.replace_model_router(Some(with_stable_ids(router, MODEL_ROUTER)));
        }
        let is_adapted = |path: &str| self.sizes.contains_key(path);
        let tied = adapted.tied_modules();
        let modules = config.modules_to_save.as_ref();
        unfreeze(&mut adapted, modules, config.bias, &is_adapted, &tied)?;
        attach_tokens(&mut adapted, config)?;
        *model = adapted;
        Ok(count)
    }
}
