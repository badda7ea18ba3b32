use std::path::PathBuf;

use moe_adapter::AdapterError;
use thiserror::Error;

/// An adapter's folder that cannot be understood, or written in a layout.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// A layout that does not exist.
    #[error("adapter: there is no layout {name:?}; there are: {allowed}")]
    UnknownFormat {
        /// The name given.
        name: String,
        /// The names there are.
        allowed: String,
    },
    /// A key that the layout needs.
    #[error("{}: `{key}` is missing{}", path.display(), hint(nearest))]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// Keys of the file that look alike.
        nearest: Vec<String>,
    },
    /// A value that cannot be understood.
    #[error("{}: `{key}` is {found}, but must be: {allowed}", path.display())]
    KeyValue {
        /// The file.
        path: PathBuf,
        /// The key at fault.
        key: String,
        /// The value found.
        found: String,
        /// What is allowed.
        allowed: String,
    },
    /// A key that is not known, and switches something on.
    #[error(
        "{}: `{key}` is {found}, which is not known here and may change what the adapter \
         computes{}",
        path.display(),
        hint(nearest)
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        found: String,
        /// Known keys that look alike.
        nearest: Vec<String>,
    },
    /// An adapter of which a layout cannot say everything.
    #[error(
        "the layout {format:?} cannot say all of this adapter: {what}{}",
        if *only_training {
            "; these matter in training only, and can be dropped (--drop-training)"
        } else {
            ""
        }
    )]
    CannotExpress {
        /// The layout.
        format: &'static str,
        /// What would be lost.
        what: String,
        /// Whether the adapter would compute the same without it.
        only_training: bool,
    },
    /// A configuration, a tensor or a file that is wrong in any layout.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
}

fn hint(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; the nearest names are `{}`", nearest.join("`, `"))
    }
}
