use std::path::Path;

use moe_adapter::{AdapterError, AdapterFiles, StoredAdapter, WeightsFile};

use crate::{AdapterFormat, FormatError, detect, expressible, x_lora};

/// How an adapter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteOptions {
    /// The layout.
    pub format: AdapterFormat,
    /// The file of the tensors.
    pub weights: WeightsFile,
    /// Whether settings that matter in training only, as the balance loss, may be lost where the
    /// layout has no keys for them.
    pub drop_training: bool,
}

impl WriteOptions {
    /// A layout in safetensors, without loss.
    pub fn new(format: AdapterFormat) -> Self {
        Self { format, weights: WeightsFile::default(), drop_training: false }
    }
}

/// Reads a folder in whichever layout it has.
///
/// # Errors
///
/// [`FormatError`] naming the file, the key or the tensor, and what is wrong with it. A key or a
/// tensor that is not understood is an error.
pub fn read_adapter(folder: &Path) -> Result<StoredAdapter, FormatError> {
    let files = AdapterFiles::read(folder)?;
    let format = detect::format(&files)?;
    format.decode(&with_parts(files, format)?)
}

/// Reads a folder in a given layout.
///
/// # Errors
///
/// As [`read_adapter`].
pub fn read_adapter_as(folder: &Path, format: AdapterFormat) -> Result<StoredAdapter, FormatError> {
    format.decode(&with_parts(AdapterFiles::read(folder)?, format)?)
}

/// The layout of a folder.
///
/// # Errors
///
/// As [`read_adapter`].
pub fn detect_format(folder: &Path) -> Result<AdapterFormat, FormatError> {
    detect::format(&AdapterFiles::read(folder)?)
}

/// The files with those of the adapters that they are made of, where the layout has such.
fn with_parts(files: AdapterFiles, format: AdapterFormat) -> Result<AdapterFiles, FormatError> {
    match format {
        AdapterFormat::XLora => x_lora::with_parts(files),
        _ => Ok(files),
    }
}

/// Writes a folder in any layout, each file atomically.
///
/// # Errors
///
/// [`FormatError::CannotExpress`] naming everything that the layout has no place for; nothing is
/// written then.
pub fn write_adapter(
    adapter: &StoredAdapter,
    folder: &Path,
    options: &WriteOptions,
) -> Result<(), FormatError> {
    if adapter.state.is_empty() {
        return Err(AdapterError::NoAdapter.into());
    }
    let refused = |what: String| {
        let format = options.format.name();
        FormatError::CannotExpress { format, what, only_training: false }
    };
    if options.format.only_mixtures() && !adapter.config.is_mixture() {
        return Err(refused("it has no router, because `num_experts` is 1".into()));
    }
    let files = options.format.encode(adapter)?;
    if options.format != AdapterFormat::Native {
        let unread = |error| refused(format!("what would be written cannot be read: {error}"));
        let again = options.format.decode(&files).map_err(unread)?;
        expressible::check(adapter, &again, options)?;
    }
    let end = if options.format == AdapterFormat::Native { "\n" } else { "" };
    Ok(files.write(folder, options.weights, end)?)
}
