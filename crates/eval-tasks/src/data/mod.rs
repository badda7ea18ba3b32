//! Data sets: where the rows of a split are, and reading them.

mod dataset;
mod document;
mod folder;
mod hub;
mod sources;

pub(crate) use dataset::{Split, load_split};
pub use document::Document;
pub use hub::HubSource;
pub use sources::DataSources;
