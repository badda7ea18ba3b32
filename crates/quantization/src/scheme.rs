use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codes::NESTED_BLOCK;
use crate::tables::{FP4, NF4};

/// How the elements of a frozen matrix are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    /// 8 bits, symmetric, a scale for each output (LLM.int8() without outliers).
    Int8,
    /// 4-bit floats, a scale for 64 elements.
    Fp4,
    /// 4-bit quantiles of the normal distribution, a scale for 64 elements (QLoRA).
    Nf4,
    /// [`Nf4`](Self::Nf4), with its scales in 8 bits (QLoRA's double quantisation).
    Nf4Double,
}

impl Quantization {
    /// Every choice.
    pub const ALL: [Self; 4] = [Self::Int8, Self::Fp4, Self::Nf4, Self::Nf4Double];

    /// The name: int8, fp4, nf4 or nf4_double.
    pub fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::Fp4 => "fp4",
            Self::Nf4 => "nf4",
            Self::Nf4Double => "nf4_double",
        }
    }

    /// The memory of a matrix `[in_features, out_features]`, in bytes, without the tables that all
    /// share.
    pub fn bytes(self, [in_features, out_features]: [usize; 2]) -> usize {
        let elements = in_features * out_features;
        let blocks = elements.div_ceil(self.block_size(in_features));
        match self {
            Self::Int8 => elements + 4 * blocks,
            Self::Fp4 | Self::Nf4 => elements.div_ceil(2) + 4 * blocks,
            Self::Nf4Double => elements.div_ceil(2) + blocks + 4 * blocks.div_ceil(NESTED_BLOCK),
        }
    }

    /// What four-bit codes stand for.
    pub(crate) fn table(self) -> Option<[f32; 16]> {
        match self {
            Self::Int8 => None,
            Self::Fp4 => Some(FP4),
            Self::Nf4 | Self::Nf4Double => Some(NF4),
        }
    }

    /// How many elements share a scale, in rows of `in_features`.
    pub(crate) fn block_size(self, in_features: usize) -> usize {
        match self {
            Self::Int8 => in_features.max(1),
            _ => 64,
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not of a [`Quantization`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{name}` is not a quantization; allowed: int8, fp4, nf4, nf4_double")]
pub struct UnknownQuantization {
    /// The name.
    pub name: String,
}

impl FromStr for Quantization {
    type Err = UnknownQuantization;

    fn from_str(name: &str) -> Result<Self, UnknownQuantization> {
        let found = Self::ALL.into_iter().find(|quantization| quantization.name() == name);
        found.ok_or_else(|| UnknownQuantization { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for quantization in Quantization::ALL {
            assert_eq!(quantization.to_string().parse(), Ok(quantization));
            assert_eq!(serde_json::to_value(quantization).unwrap(), quantization.name());
        }
        let error = "int4".parse::<Quantization>().unwrap_err().to_string();
        assert!(error.contains("int4") && error.contains("nf4_double"), "{error}");
    }
}
