use std::path::PathBuf;

use crate::BoxError;

/// Something that fetches data sets, such as the hub of Hugging Face.
pub trait HubSource {
    /// The local files of one split, in order; none if the data set has no such split.
    ///
    /// # Errors
    /// Why the data set cannot be fetched.
    fn files(
        &self,
        dataset: &str,
        configuration: Option<&str>,
        split: &str,
    ) -> Result<Vec<PathBuf>, BoxError>;
}
