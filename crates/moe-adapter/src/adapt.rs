use std::collections::BTreeSet;

use burn::tensor::Tensor;
use router::Site;

use crate::ids::with_stable_ids;
use crate::select::select;
use crate::{
    Adaptable, AdaptedProjection, AdapterError, BaseLinear, LayersToTransform, Projection,
    TargetModules,
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

/// As [`adapt`], on the linears of these paths.
pub(crate) fn adapt_selected<M, F>(
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
