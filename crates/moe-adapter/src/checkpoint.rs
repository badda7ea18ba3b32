use std::path::Path;

use crate::{
    Adaptable, AdaptedProjection, AdapterConfig, AdapterError, AdapterState, StoredAdapter,
};

/// The configuration in an adapter's folder.
pub const ADAPTER_CONFIG_FILE: &str = "adapter_config.json";
/// The parameters in an adapter's folder.
pub const ADAPTER_WEIGHTS_FILE: &str = "adapter_model.safetensors";

/// Saves the adapters of a model into a folder: `adapter_config.json` and
/// `adapter_model.safetensors`, each written atomically. A single LoRA has the names and shapes
/// that PEFT gives it.
///
/// # Errors
///
/// [`AdapterError`] when the model carries no adapter or a file cannot be written.
pub fn save_adapter<M>(
    model: &M,
    config: &AdapterConfig,
    base_model: Option<&str>,
    folder: &Path,
) -> Result<(), AdapterError>
where
    M: Adaptable,
    M::Projection: AdaptedProjection,
{
    StoredAdapter::of(model, config, base_model).write(folder)
}

/// Reads an adapter's folder that [`save_adapter`] wrote: its configuration and its parameters, to
/// be put on a model with [`attach_saved`](crate::attach_saved). The crate `adapter-formats` reads
/// the layouts of other projects too.
///
/// # Errors
///
/// [`AdapterError`] naming the file and what is wrong with it.
pub fn load_adapter(folder: &Path) -> Result<(AdapterConfig, AdapterState), AdapterError> {
    StoredAdapter::read(folder).map(|adapter| (adapter.config, adapter.state))
}
