use std::collections::{BTreeMap, BTreeSet};

use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use ranks::{Alone, Ranks};
use router::{RouterConfig, RouterError, RouterShape, Site, XLoraClassifier};
use svd_init::{BankShape, ExpertStart, LayerStatistics, SvdCache};

use crate::build::refined;
use crate::ids::with_stable_ids;
use crate::select::{Selection, select};
use crate::shared_starts::{Layers, shared_starts};
use crate::state::{MODEL_ROUTER, START, check_state, replace_state};
use crate::tokens::attach_tokens;
use crate::trainable::unfreeze;
use crate::{
    Adaptable, AdaptedLinear, AdaptedProjection, AdapterConfig, AdapterError, AdapterState,
    BaseLinear, LayerSizes, LayersToTransform, Projection, RouterScope, TargetModules,
    adapter_state,
};

/// Puts adapters on a model: `build` makes the adapter of each targeted linear from its path, its
/// place and the linear, and is where a router or an expert of your own comes in. With it comes
/// the weight that replaces the linear's, or `None`.
///
/// Parameters get identities that depend only on their path, so that the state of an optimizer
/// fits the same adapter in another run. Adapters that were there are replaced.
///
/// # Errors
///
/// [`AdapterError`] when targets or layers are not in the model, or `build` fails. The model is
/// then unchanged.
pub fn adapt<M, F>(
    model: &mut M,
    targets: &TargetModules,
    layers: Option<&LayersToTransform>,
    build: F,
) -> Result<usize, AdapterError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    F: FnMut(&str, Site, &BaseLinear) -> Result<Built<M>, AdapterError>,
{
    let selection = select(model, targets, None, None, layers)?;
    adapt_selected(model, &selection.paths, build)
}

fn adapt_selected<M, F>(
    model: &mut M,
    selected: &BTreeSet<String>,
    mut build: F,
) -> Result<usize, AdapterError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    F: FnMut(&str, Site, &BaseLinear) -> Result<Built<M>, AdapterError>,
{
    let mut built = Vec::with_capacity(selected.len());
    let mut failed = None;
    model.visit_projections(&mut |path, site, projection| {
        if failed.is_none() && selected.contains(path) {
            match build(path, site, projection.linear()) {
                Ok((adapter, weight)) => {
                    built.push((with_stable_ids(adapter, path), weight));
                }
                Err(error) => failed = Some(error),
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }

    let mut built = built.into_iter();
    model.visit_projections_mut(&mut |path, _, projection| {
        let next = if selected.contains(path) { built.next() } else { None };
        match next {
            Some((adapter, weight)) => {
                projection.replace_adapter(Some(adapter));
                if let Some(weight) = weight {
                    projection.replace_weight(weight);
                }
            }
            None => {
                projection.replace_adapter(None);
            }
        }
    });
    model.visit_blocks_mut(&mut |_, _, block| block.router = None);
    model.replace_model_router(None);
    Ok(selected.len())
}

/// The adapter of a projection, and the weight that replaces its linear's.
type Built<M> = (<<M as Adaptable>::Projection as AdaptedProjection>::Adapter, Option<Tensor<2>>);

/// How adapters are put on a model.
#[derive(Default)]
pub struct AttachOptions<'a> {
    /// Everything random follows from it.
    pub seed: u64,
    /// What a calibration pass found out about the linears, by path; needed where
    /// [`AdapterConfig::needs_statistics`].
    pub statistics: BTreeMap<String, LayerStatistics>,
    /// Keeps decompositions from run to run.
    pub svd_cache: Option<&'a SvdCache>,
    /// Is told how many of the layers are done whose matrices are decomposed here.
    pub progress: Option<&'a (dyn Fn(usize, usize) + Sync)>,
    /// Ranks that put the same adapters on the same model, and share the layers whose start is
    /// computed; each has the numbers of one that is alone.
    pub ranks: Option<&'a dyn Ranks>,
}

/// Puts the adapters of a configuration on a model, initialised from `seed`; returns how many
/// linears are adapted.
///
/// The parameters of the base model stay frozen or trainable as they are, but for those that the
/// configuration trains: load the model frozen, or freeze it with `no_grad`.
///
/// # Errors
///
/// [`AdapterError`] naming the key that cannot work, or does not fit the model.
pub fn attach<M>(model: &mut M, config: &AdapterConfig, seed: u64) -> Result<usize, AdapterError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    attach_with(model, config, AttachOptions { seed, ..AttachOptions::default() })
}

/// As [`attach`], with statistics of the layers, a cache of decompositions, and progress.
///
/// # Errors
///
/// As [`attach`].
pub fn attach_with<M>(
    model: &mut M,
    config: &AdapterConfig,
    options: AttachOptions<'_>,
) -> Result<usize, AdapterError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    let AttachOptions { seed, mut statistics, svd_cache, progress, ranks } = options;
    fuse(model, config)?;
    let plan = Plan::new(model, config)?;
    let mut starts = match config.init.draws() {
        true => BTreeMap::new(),
        false => {
            let ranks = ranks.unwrap_or(&Alone);
            let progress = progress.unwrap_or(&|_, _| {});
            plan.starts(model, config, &mut statistics, ranks, svd_cache, progress)?
        }
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    plan.apply(model, config, &mut rng, |path, sizes, linear, rng| match starts.remove(path) {
        Some(start) => config.adapter_from(linear, sizes, path, Some(start), rng),
        None => {
            let statistics = statistics.remove(path).unwrap_or_default();
            config.init_adapter(linear, sizes, path, &statistics, rng)
        }
    })
}

/// Puts a stored adapter on its base model; returns how many linears are adapted. `origin` names
/// the source in errors.
///
/// The start is not repeated, but for an adapter whose layout does not store what the start took
/// out of the frozen weights, as PEFT's PiSSA and GOAT's published code.
///
/// # Errors
///
/// [`AdapterError`] when the state does not fit the configuration, or was trained on another base
/// model. The model is then unchanged.
pub fn attach_saved<M>(
    model: &mut M,
    config: &AdapterConfig,
    mut state: AdapterState,
    origin: &str,
) -> Result<usize, AdapterError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    if config.has_experts() && !state.keys().any(|name| name.contains(START)) {
        state.extend(repeated_start(model, config, origin)?);
    }
    let mut loaded = model.clone();
    fuse(&mut loaded, config)?;
    loaded.fit(&state);
    if let Some(indices) = &config.trainable_token_indices {
        let count = loaded.token_shapes().iter().map(|(_, [count, _])| *count).min();
        loaded.reserve_tokens(indices.needed(count.unwrap_or(0)));
    }
    let plan = Plan::new(&loaded, config)?;
    plan.check_factors(config, &state, origin)?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let count = plan.apply(&mut loaded, config, &mut rng, |path, sizes, linear, rng| {
        Ok((config.placeholder(linear, sizes, path, &state, rng)?, None))
    })?;
    check_state(&adapter_state(&loaded), &state, origin)?;
    replace_state(&mut loaded, state);

    let mut other_base = None;
    loaded.visit_projections_mut(&mut |path, _, projection| {
        let start = projection.adapter().and_then(|adapter| adapter.start.clone());
        let Some(start) = start else { return };
        let base = projection.linear().weight();
        if !start.fits(&base) {
            other_base.get_or_insert_with(|| path.to_owned());
            return;
        }
        projection.replace_weight(start.residual(base));
        if let Some(mut adapter) = projection.replace_adapter(None) {
            adapter.experts.rebase(&projection.linear().weight());
            projection.replace_adapter(Some(adapter));
        }
    });
    if let Some(path) = other_base {
        return Err(AdapterError::OtherBase { origin: origin.into(), path });
    }
    *model = loaded;
    Ok(count)
}

/// Holds the experts of a model as the parameters that a configuration names.
fn fuse<M: Adaptable>(model: &mut M, config: &AdapterConfig) -> Result<(), AdapterError> {
    match config.target_parameters {
        Some(_) => model.fuse_experts(),
        None => Ok(()),
    }
}

/// What a start takes out of the frozen weights, found by repeating it; empty for one that takes
/// nothing out.
fn repeated_start<M>(
    model: &M,
    config: &AdapterConfig,
    origin: &str,
) -> Result<AdapterState, AdapterError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    if !config.init.takes_out() {
        return Ok(AdapterState::new());
    }
    if config.needs_statistics() {
        let init = config.init.name();
        return Err(AdapterError::StartNotStored { origin: origin.into(), init });
    }
    let mut started = model.clone();
    attach(&mut started, config, 0)?;
    let mut state = adapter_state(&started);
    state.retain(|name, _| name.contains(START));
    Ok(state)
}

/// Takes all adapters off a model, and the rows that tokens have of their own.
///
/// Weights that a start changed stay changed: load the base model again instead.
pub fn detach<M>(model: &mut M)
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    model.visit_projections_mut(&mut |_, _, projection| {
        projection.replace_adapter(None);
    });
    model.visit_blocks_mut(&mut |_, _, block| block.router = None);
    model.replace_model_router(None);
    model.visit_token_modules_mut(&mut |_, module| *module.rows = None);
}

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
        Ok(Self { sizes, blocks, decided })
    }

    /// The starts of all linears whose experts have some, by path.
    fn starts<M>(
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
    fn check_factors(
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
    fn apply<M>(
        &self,
        model: &mut M,
        config: &AdapterConfig,
        rng: &mut ChaCha8Rng,
        mut build: impl FnMut(
            &str,
            &LayerSizes,
            &BaseLinear,
            &mut ChaCha8Rng,
        ) -> Result<crate::BuiltAdapter, AdapterError>,
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
