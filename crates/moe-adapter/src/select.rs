use std::collections::BTreeSet;

use router::Site;

use crate::{Adaptable, AdapterError, LayersToTransform, TargetModules};

/// The linears that a configuration targets.
pub(crate) struct Selection {
    /// Their paths.
    pub(crate) paths: BTreeSet<String>,
    /// The layers of the model.
    pub(crate) num_layers: usize,
}

/// Chooses the linears of a model.
pub(crate) fn select<M: Adaptable>(
    model: &M,
    targets: &TargetModules,
    exclude: Option<&TargetModules>,
    layers: Option<&LayersToTransform>,
) -> Result<Selection, AdapterError> {
    let mut matcher = targets.matcher()?;
    let excluded = exclude.map(TargetModules::matcher).transpose()?;
    let mut paths = BTreeSet::new();
    let mut available = BTreeSet::new();
    let mut num_layers = 0;
    model.visit_projections(&mut |path, site: Site, _| {
        num_layers = num_layers.max(site.layer + 1);
        available.insert(without_numbers(site.module));
        let in_layer = layers.is_none_or(|layers| layers.indices().contains(&site.layer));
        let excluded = excluded.as_ref().is_some_and(|excluded| excluded.is_match(path));
        if in_layer && matcher.matches(path) && !excluded {
            paths.insert(path.to_owned());
        }
    });
    if let Some(layers) = layers
        && let Some(layer) = layers.indices().iter().find(|layer| **layer >= num_layers)
    {
        return Err(AdapterError::LayerNotFound { layer: *layer, layers: num_layers });
    }
    let unused = matcher.unused();
    if paths.is_empty() || !unused.is_empty() {
        let available: Vec<_> = available.into_iter().collect();
        let targets = if unused.is_empty() { "as given".to_owned() } else { format!("{unused:?}") };
        return Err(AdapterError::TargetNotFound { targets, available: available.join(", ") });
    }
    Ok(Selection { paths, num_layers })
}

/// A path with a star for each number, so that layers and experts are one name.
pub(crate) fn without_numbers(module: &str) -> String {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts = module.split('.').map(|part| if is_number(part) { "*" } else { part });
    parts.collect::<Vec<_>>().join(".")
}
