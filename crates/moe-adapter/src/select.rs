use std::collections::BTreeSet;

use router::Site;

use crate::parameters::{is_target, parameter_name};
use crate::target::Matcher;
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
    parameters: Option<&[String]>,
    layers: Option<&LayersToTransform>,
) -> Result<Selection, AdapterError> {
    let mut matcher = match parameters {
        Some(_) if targets.is_empty() => None,
        _ => Some(targets.matcher()?),
    };
    let mut used = BTreeSet::new();
    let mut held = BTreeSet::new();
    let excluded = exclude.map(TargetModules::matcher).transpose()?;
    let mut paths = BTreeSet::new();
    let mut available = BTreeSet::new();
    let mut num_layers = 0;
    model.visit_projections(&mut |path, site: Site, _| {
        num_layers = num_layers.max(site.layer + 1);
        let parameter = parameters.filter(|_| model.is_of_expert(path));
        match parameter.and_then(|_| parameter_name(path)) {
            Some(name) => held.insert(without_numbers(&name)),
            None => available.insert(without_numbers(site.module)),
        };
        let in_layer = layers.is_none_or(|layers| layers.indices().contains(&site.layer));
        let excluded = excluded.as_ref().is_some_and(|excluded| excluded.is_match(path));
        let matches = match parameter {
            Some(parameters) => is_target(path, parameters, &mut used),
            None => matcher.as_mut().is_some_and(|matcher| matcher.matches(path)),
        };
        if in_layer && matches && !excluded {
            paths.insert(path.to_owned());
        }
    });
    if let Some(layers) = layers
        && let Some(layer) = layers.indices().iter().find(|layer| **layer >= num_layers)
    {
        return Err(AdapterError::LayerNotFound { layer: *layer, layers: num_layers });
    }
    let missed = parameters.unwrap_or(&[]).iter().filter(|target| !used.contains(*target));
    let missed: Vec<_> = missed.collect();
    if !missed.is_empty() {
        let available: Vec<_> = held.into_iter().collect();
        let available = match available.is_empty() {
            true => "none: its layers have no experts".to_owned(),
            false => available.join(", "),
        };
        return Err(AdapterError::TargetParameters { targets: format!("{missed:?}"), available });
    }
    let unused = matcher.as_ref().map(Matcher::unused).unwrap_or_default();
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
