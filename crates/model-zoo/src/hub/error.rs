use std::path::PathBuf;

use thiserror::Error;

/// A model or a data set that cannot be had from the hub.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// It is not a name of the hub.
    #[error("`{name}` is not a name on the hub, which has the form `organisation/name`")]
    Name {
        /// What was given.
        name: String,
    },
    /// What is here is no model.
    #[error("{}: {what}", path.display())]
    NoModel {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The feature is off.
    #[error(
        "`{name}` is not a folder here, and this program was built without the feature `hub`, \
         which downloads models and data sets"
    )]
    NotBuilt {
        /// The name of the repository.
        name: String,
    },
    /// The hub does not give a file.
    #[error("`{name}` (revision {revision}): {what} cannot be had from {endpoint}: {message}")]
    Fetch {
        /// The name of the model.
        name: String,
        /// The revision.
        revision: String,
        /// The file, or the list of files.
        what: String,
        /// The address of the hub.
        endpoint: String,
        /// Why.
        message: String,
    },
    /// The cache cannot be read.
    #[error("{}: {error}", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The repository has nothing that can be read.
    #[error("`{name}` (revision {revision}): has no {what}")]
    NothingUsable {
        /// The name of the model.
        name: String,
        /// The revision.
        revision: String,
        /// What it would have to have.
        what: &'static str,
    },
}
