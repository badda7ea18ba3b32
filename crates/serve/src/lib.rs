//! An OpenAI-compatible server of a base model and its adapters.
//!
//! The [`engine`], that of `model-zoo`, continues many requests at once over one copy of the base model: rows of
//! different adapters, and of none, in one batch. [`http`] is what clients talk to. Adapters that
//! route token by token, which cannot be merged into the weights, are served so as well as single
//! ones.

pub mod http;
mod load;

pub use load::adapter_loader;
pub use model_zoo::engine;
