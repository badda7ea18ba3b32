use std::path::PathBuf;

use thiserror::Error;

/// A `config.json` that cannot be read, or a model that it describes and this crate cannot build.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be opened.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not JSON.
    #[error("{}: not valid JSON: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A key that has no default is absent.
    #[error("{origin}: `{key}` is missing")]
    Missing {
        /// The file, or what stands for it.
        origin: String,
        /// The key.
        key: String,
    },
    /// A key holds a value of another type.
    #[error("{origin}: `{key}` is {value}, but must be {expected}")]
    Type {
        /// The file, or what stands for it.
        origin: String,
        /// The key.
        key: String,
        /// The value found.
        value: String,
        /// What is expected.
        expected: &'static str,
    },
    /// The value is legal, but this crate does not implement what it asks for.
    #[error("{origin}: `{key}` is {value}, which is not supported; supported: {allowed}")]
    Unsupported {
        /// The file, or what stands for it.
        origin: String,
        /// The key.
        key: String,
        /// The value found.
        value: String,
        /// What is supported.
        allowed: String,
    },
    /// The value cannot describe a model.
    #[error("{origin}: `{key}` is {value}, but must be {allowed}")]
    Invalid {
        /// The file, or what stands for it.
        origin: String,
        /// The key.
        key: String,
        /// The value found.
        value: String,
        /// What is allowed.
        allowed: String,
    },
}
