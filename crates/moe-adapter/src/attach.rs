use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::nn::Linear;
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use router::{Site, stable_hash};

use crate::target::Matcher;
use crate::{
    Adaptable, AdaptedLinear, AdaptedProjection, AdapterConfig, AdapterError, LayersToTransform,
    Projection, TargetModules,
};

/// Puts adapters on a model: `build` makes the adapter of each targeted linear from its path and
/// the linear, and is where a router or an expert of your own comes in.
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
    mut build: F,
) -> Result<usize, AdapterError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
    F: FnMut(&str, &Linear) -> Result<Built<M>, AdapterError>,
{
    let mut matcher = targets.matcher()?;
    let selected = select(model, &mut matcher, layers)?;

    let mut built = Vec::with_capacity(selected.len());
    let mut failed = None;
    model.visit_projections(&mut |path, _, projection| {
        if failed.is_none() && selected.contains(path) {
            match build(path, projection.linear()) {
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
    Ok(selected.len())
}

/// The adapter of a projection, and the weight that replaces its linear's.
type Built<M> = (<<M as Adaptable>::Projection as AdaptedProjection>::Adapter, Option<Tensor<2>>);

/// Puts the adapters of a configuration on a model, initialised from `seed`; returns how many.
///
/// # Errors
///
/// [`AdapterError`] naming the key that cannot work, or does not fit the model.
pub fn attach<M>(model: &mut M, config: &AdapterConfig, seed: u64) -> Result<usize, AdapterError>
where
    M: Adaptable<Projection = AdaptedLinear>,
{
    config.check()?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    adapt(model, &config.target_modules, config.layers_to_transform.as_ref(), |_, linear| {
        config.init_adapter(linear, &mut rng)
    })
}

/// Takes all adapters off a model.
pub fn detach<M>(model: &mut M)
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    model.visit_projections_mut(&mut |_, _, projection| {
        projection.replace_adapter(None);
    });
}

fn select<M: Adaptable>(
    model: &M,
    matcher: &mut Matcher,
    layers: Option<&LayersToTransform>,
) -> Result<BTreeSet<String>, AdapterError> {
    let mut selected = BTreeSet::new();
    let mut available = BTreeSet::new();
    let mut num_layers = 0;
    model.visit_projections(&mut |path, site: Site, _| {
        num_layers = num_layers.max(site.layer + 1);
        available.insert(site.module);
        let in_layer = layers.is_none_or(|layers| layers.indices().contains(&site.layer));
        if in_layer && matcher.matches(path) {
            selected.insert(path.to_owned());
        }
    });
    if let Some(layers) = layers
        && let Some(layer) = layers.indices().iter().find(|layer| **layer >= num_layers)
    {
        return Err(AdapterError::LayerNotFound { layer: *layer, layers: num_layers });
    }
    let unused = matcher.unused();
    if selected.is_empty() || !unused.is_empty() {
        let available: Vec<_> = available.into_iter().collect();
        let targets = if unused.is_empty() { "as given".to_owned() } else { format!("{unused:?}") };
        return Err(AdapterError::TargetNotFound { targets, available: available.join(", ") });
    }
    Ok(selected)
}

/// Gives every parameter the identity of its path.
fn with_stable_ids<A: Module>(adapter: A, path: &str) -> A {
    struct Ids {
        path: Vec<String>,
    }
    impl ModuleMapper for Ids {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (_, tensor, mapper) = param.consume();
            let id = ParamId::from(stable_hash(self.path.join(".").bytes()));
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    adapter.map(&mut Ids { path: vec![path.to_owned()] })
}
