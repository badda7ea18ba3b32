use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, Ordering};

use serde::{Deserialize, Serialize};

/// How activations are multiplied with frozen weights, and on CPUs queries with keys and weights with
/// values.
///
/// All other products, those of adapters, routers and losses, are in f32, whatever is chosen; so are
/// softmax, norms and the optimiser.
///
/// GPUs take it for all frozen weights. CPUs have no TF32, and `Bf16` concerns the weights that are held
/// in fewer bits than f32: where the processor multiplies bfloat16 faster than f32 (Intel's with AMX, AMD's
/// with AVX512-BF16), the kernels do; on other x86 processors the same numbers are rounded and multiplied
/// in f32, so that results differ by the order of sums only; elsewhere nothing is rounded. Attention
/// rounds where that is faster, and only there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Inputs rounded to TF32, of 10 bits of mantissa, on devices that have it; sums in f32.
    Tf32,
    /// Inputs rounded to bfloat16, of 7 bits of mantissa; sums in f32.
    Bf16,
}

/// A name that is no [`Precision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPrecision(String);

impl fmt::Display for UnknownPrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no precision; known are f32, tf32 and bf16", self.0)
    }
}

impl std::error::Error for UnknownPrecision {}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        match name {
            "f32" => Ok(Self::F32),
            "tf32" => Ok(Self::Tf32),
            "bf16" => Ok(Self::Bf16),
            other => Err(UnknownPrecision(other.to_owned())),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        })
    }
}

static CHOSEN: AtomicU8 = AtomicU8::new(0);

/// Chooses the precision of the process.
pub fn set_precision(precision: Precision) {
    CHOSEN.store(precision as u8, Ordering::Relaxed);
}

/// The precision of the process; f32 unless another was chosen.
pub fn precision() -> Precision {
    match CHOSEN.load(Ordering::Relaxed) {
        1 => Precision::Tf32,
        2 => Precision::Bf16,
        _ => Precision::F32,
    }
}
