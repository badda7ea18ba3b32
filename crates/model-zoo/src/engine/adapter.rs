use std::path::PathBuf;

use moe_adapter::AdapterLayers;
use router::Reach;

/// An adapter that an engine has loaded.
#[derive(Debug)]
pub struct Adapter {
    /// Its name.
    pub name: String,
    /// The folder that it came from, where it came from one.
    pub path: Option<PathBuf>,
    /// Tells it from others that had its name before.
    pub(super) number: u64,
    pub(super) layers: std::sync::Arc<AdapterLayers>,
}

impl Adapter {
    /// Whether what its routers decide for a token depends on other tokens: its rows are then
    /// computed each for itself, and their prompts in one piece.
    pub fn is_alone(&self) -> bool {
        self.layers.reach() != Reach::Token
    }
}
