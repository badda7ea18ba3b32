//! Choosing where to run, by name, among the backends that were compiled in.
//!
//! A name is a backend, or a backend and the index of a device:
//!
//! | name | device |
//! |---|---|
//! | `flex` | the CPU |
//! | `cuda`, `cuda:1` | the first NVIDIA GPU, the second |
//! | `rocm`, `rocm:1` | the first AMD GPU, the second |
//! | `vulkan`, `metal`, `wgpu` | the best GPU of that API |
//! | `vulkan:1`, `metal:1`, `wgpu:1` | its second discrete GPU |

use burn::tensor::Device;
use thiserror::Error;

/// The backends there are, each a feature of this crate, in the order of [`available`].
const BACKENDS: [(&str, bool); 6] = [
    ("flex", cfg!(feature = "flex")),
    ("cuda", cfg!(feature = "cuda")),
    ("rocm", cfg!(feature = "rocm")),
    ("metal", cfg!(feature = "metal")),
    ("vulkan", cfg!(feature = "vulkan")),
    ("wgpu", cfg!(feature = "wgpu")),
];

/// A device that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No backend has this name.
    #[error("device: there is no backend {name:?}; there are: {allowed}")]
    Unknown {
        /// The name given.
        name: String,
        /// The names there are.
        allowed: String,
    },
    /// The backend exists, and this build lacks it.
    #[error(
        "device: {backend} is not compiled in (this build has: {available}); to have it, add \
         `--features {backend}` when building"
    )]
    NotCompiled {
        /// The backend.
        backend: &'static str,
        /// The backends of this build.
        available: String,
    },
    /// What follows the colon is not the index of a device.
    #[error("device: {index:?} in {name:?} is no index of a device; {allowed}")]
    Index {
        /// The name given.
        name: String,
        /// The part at fault.
        index: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// This build has no backend at all.
    #[error("device: no backend is compiled in; add `--features flex`")]
    NoBackend,
}

/// The backends of this build; the first is the default.
pub fn available() -> Vec<&'static str> {
    BACKENDS.iter().filter(|(_, compiled)| *compiled).map(|(name, _)| *name).collect()
}

/// The device to use when nobody chose one: `flex` where it is compiled in, else the first of
/// [`available`].
///
/// # Errors
///
/// [`DeviceError::NoBackend`] when no backend is compiled in.
pub fn default_device() -> Result<Device, DeviceError> {
    let backend = available().into_iter().next().ok_or(DeviceError::NoBackend)?;
    parse_device(backend)
}

/// The environment variable that names a device where nothing else does.
pub const DEVICE_VARIABLE: &str = "LORA_MOE_DEVICE";

/// The device that the environment variable [`DEVICE_VARIABLE`] names, or [`default_device`] where
/// it is absent. The benchmarks and the golden tests run on it.
///
/// # Errors
///
/// [`DeviceError`] as of [`parse_device`] and [`default_device`].
pub fn device_from_environment() -> Result<Device, DeviceError> {
    match std::env::var_os(DEVICE_VARIABLE) {
        Some(name) => parse_device(&name.to_string_lossy()),
        None => default_device(),
    }
}

/// The device of a name, as in `cuda:0`, `vulkan` or `flex`.
///
/// The hardware is touched at the first tensor, so that is when a GPU that is not there is
/// noticed.
///
/// # Errors
///
/// [`DeviceError`] when the name or its index means nothing, or the backend is not compiled in.
///
/// ```
/// use lora_moe::device::{available, parse_device};
///
/// assert!(available().contains(&"flex"));
/// assert!(parse_device("flex").is_ok());
/// let error = parse_device("gpu").unwrap_err().to_string();
/// assert!(error.contains("cuda"));
/// ```
pub fn parse_device(name: &str) -> Result<Device, DeviceError> {
    let (backend, index) = match name.split_once(':') {
        Some((backend, index)) => (backend, Some(index)),
        None => (name, None),
    };
    let known = BACKENDS.iter().find(|(known, _)| *known == backend);
    let backend = known.map(|(known, _)| *known).ok_or_else(|| DeviceError::Unknown {
        name: name.into(),
        allowed: BACKENDS.map(|(known, _)| known).join(", "),
    })?;
    let index = index.map(|index| parse_index(name, backend, index)).transpose()?;
    open(backend, index)
        .ok_or_else(|| DeviceError::NotCompiled { backend, available: listed(&available()) })
}

fn parse_index(name: &str, backend: &str, index: &str) -> Result<usize, DeviceError> {
    let refused = |allowed| DeviceError::Index { name: name.into(), index: index.into(), allowed };
    match index.parse() {
        Ok(0) if backend == "flex" => Ok(0),
        _ if backend == "flex" => Err(refused("flex has one device, 0")),
        Ok(index) => Ok(index),
        Err(_) => Err(refused("give a whole number from 0, as in cuda:0")),
    }
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The device, where its backend is compiled in.
fn open(backend: &str, index: Option<usize>) -> Option<Device> {
    // Unused where no GPU backend is compiled in.
    let _ = index;
    match backend {
        #[cfg(feature = "flex")]
        "flex" => Some(Device::flex()),
        #[cfg(feature = "cuda")]
        "cuda" => Some(Device::cuda(index.unwrap_or(0))),
        #[cfg(feature = "rocm")]
        "rocm" => Some(Device::rocm(index.unwrap_or(0))),
        #[cfg(feature = "metal")]
        "metal" => Some(Device::metal(graphics(index))),
        #[cfg(feature = "vulkan")]
        "vulkan" => Some(Device::vulkan(graphics(index))),
        #[cfg(feature = "wgpu")]
        "wgpu" => Some(Device::wgpu(graphics(index))),
        _ => None,
    }
}

#[cfg(feature = "wgpu")]
fn graphics(index: Option<usize>) -> burn::tensor::DeviceKind {
    use burn::tensor::DeviceKind;
    index.map_or(DeviceKind::DefaultDevice, DeviceKind::DiscreteGpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "flex")]
    #[test]
    fn the_default_is_flex_where_it_is_compiled_in() {
        assert_eq!(available()[0], "flex");
        assert_eq!(default_device().unwrap(), Device::flex());
        assert_eq!(parse_device("flex").unwrap(), Device::flex());
        assert_eq!(parse_device("flex:0").unwrap(), Device::flex());
    }

    #[test]
    fn every_backend_opens_or_names_its_feature() {
        for (name, compiled) in BACKENDS {
            match parse_device(name) {
                Ok(_) => assert!(compiled, "{name}"),
                Err(error) => {
                    assert!(!compiled, "{name}");
                    let feature = format!("add `--features {name}`");
                    assert!(error.to_string().contains(&feature), "{error}");
                }
            }
        }
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        for name in ["gpu", "", "CUDA", ":0"] {
            let error = parse_device(name).unwrap_err();
            assert!(matches!(error, DeviceError::Unknown { .. }), "{name}");
            assert!(error.to_string().contains("flex, cuda"), "{error}");
        }
    }

    #[test]
    fn indices_that_are_none_are_refused() {
        for name in ["cuda:", "cuda:x", "vulkan:-1", "cuda:0:0", "flex:1", "flex:"] {
            let error = parse_device(name).unwrap_err();
            assert!(matches!(error, DeviceError::Index { .. }), "{name}: {error}");
        }
    }
}
