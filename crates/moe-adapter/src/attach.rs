use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use ranks::{Alone, Ranks};
use svd_init::{LayerStatistics, SvdCache};

use crate::plan::Plan;
use crate::state::{START, check_state, replace_state};
use crate::{
    Adaptable, AdaptedLinear, AdaptedProjection, AdapterConfig, AdapterError, AdapterState,
    Projection, adapter_state,
};

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
/// [`AdapterError`] naming the key that cannot work, or does not fit the model, which is then unchanged.
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
    let mut adapted = model.clone();
    fuse(&mut adapted, config)?;
    let plan = Plan::new(&adapted, config)?;
    let mut starts = match config.init.draws() {
        true => BTreeMap::new(),
        false => {
            let ranks = ranks.unwrap_or(&Alone);
            let progress = progress.unwrap_or(&|_, _| {});
            plan.starts(&adapted, config, &mut statistics, ranks, svd_cache, progress)?
        }
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count =
        plan.apply(&mut adapted, config, &mut rng, |path, sizes, linear, rng| {
            match starts.remove(path) {
                Some(start) => config.adapter_from(linear, sizes, path, Some(start), rng),
                None => {
                    let statistics = statistics.remove(path).unwrap_or_default();
                    config.init_adapter(linear, sizes, path, &statistics, rng)
                }
            }
        })?;
    *model = adapted;
    Ok(count)
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
