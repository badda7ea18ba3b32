use std::path::Path;
use std::sync::{Mutex, PoisonError};

use adapter_formats::read_adapter;
use moe_adapter::{
    Adaptable, AdaptedLinear, AdaptedProjection, AdapterLayers, BiasTraining, RouterScope,
    StoredAdapter, attach_saved,
};

use crate::http::LoadAdapter;

/// Reads adapters for a base model, of which it keeps a copy that shares its weights.
///
/// An adapter that trained whole modules or biases of the model is refused: it has weights of its
/// own where all rows of a batch share those of the model. So is one on experts of a base model
/// that is itself a mixture: they see tokens and not rows; and one with a router for the whole model,
/// for which the rows of a batch would need first passes of their own.
pub fn adapter_loader<M>(model: &M) -> LoadAdapter
where
    M: Adaptable<Projection = AdaptedLinear> + 'static,
{
    let model = Mutex::new(model.clone());
    Box::new(move |folder: &Path| {
        let StoredAdapter { config, state, .. } =
            read_adapter(folder).map_err(|error| error.to_string())?;
        if config.modules_to_save.is_some()
            || config.trainable_token_indices.is_some()
            || config.bias != BiasTraining::None
        {
            return Err(
                "it trained whole modules, tokens or biases of the model, which rows of other \
                        adapters in a batch do not have; merge it, and serve the merged model"
                    .to_owned(),
            );
        }
        if config.router_scope == RouterScope::Model {
            return Err("its router decides for the whole model from a first pass of its own, which \
                        rows of other adapters in a batch do not make; merge it at the routing of a \
                        prompt, or use it with `generate`"
                .to_owned());
        }
        let mut model = model.lock().unwrap_or_else(PoisonError::into_inner).clone();
        attach_saved(&mut model, &config, state, &folder.display().to_string())
            .map_err(|error| error.to_string())?;
        let mut in_expert = None;
        model.visit_projections(&mut |path, _, projection| {
            if projection.adapter().is_some() && model.is_of_expert(path) {
                in_expert.get_or_insert_with(|| path.to_owned());
            }
        });
        match in_expert {
            None => Ok(AdapterLayers::of(&model)),
            Some(path) => Err(format!(
                "it adapts `{path}`, in an expert of the base model, which sees tokens of all rows \
                 of a batch together; merge it"
            )),
        }
    })
}
