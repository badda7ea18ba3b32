use std::fmt;
use std::str::FromStr;

use burn::tensor::DType;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The element type of loaded weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WeightDType {
    /// Everything as f32.
    #[serde(rename = "float32")]
    F32,
    /// Matrices as f16: half the memory of f32.
    #[serde(rename = "float16")]
    F16,
    /// Matrices as bf16: half the memory of f32, with its range. On CPUs a decoder computes with
    /// them in f32, and generates faster than with f32, because less is read.
    #[serde(rename = "bfloat16")]
    BF16,
    /// Matrices of a decoder on a CPU as the file has them, for its products widen them: what it computes is
    /// what it computes of the same values in f32, but for the order of sums. All else as f32.
    #[default]
    #[serde(rename = "auto")]
    AsStored,
}

impl WeightDType {
    /// The choice that holds matrices in an element type; f32 for any other than the halves.
    pub fn of(dtype: DType) -> Self {
        match dtype {
            DType::F16 => Self::F16,
            DType::BF16 => Self::BF16,
            _ => Self::F32,
        }
    }

    /// The same where nothing widens halves: f32 for [`AsStored`](Self::AsStored).
    pub fn computed(self) -> Self {
        if self == Self::AsStored { Self::F32 } else { self }
    }

    /// The element type; `None` for that of the file.
    pub fn dtype(self) -> Option<DType> {
        match self {
            Self::F32 => Some(DType::F32),
            Self::F16 => Some(DType::F16),
            Self::BF16 => Some(DType::BF16),
            Self::AsStored => None,
        }
    }

    /// Every choice.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::BF16, Self::AsStored];

    /// The name, as transformers has it: float32, float16, bfloat16 or auto.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::BF16 => "bfloat16",
            Self::AsStored => "auto",
        }
    }
}

impl fmt::Display for WeightDType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is not of a [`WeightDType`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{name}` is not an element type; allowed: float32, float16, bfloat16, auto")]
pub struct UnknownDType {
    /// The name.
    pub name: String,
}

impl FromStr for WeightDType {
    type Err = UnknownDType;

    fn from_str(name: &str) -> Result<Self, UnknownDType> {
        let found = Self::ALL.into_iter().find(|dtype| dtype.name() == name);
        found.ok_or_else(|| UnknownDType { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_transformers() {
        for dtype in WeightDType::ALL {
            assert_eq!(dtype.to_string().parse(), Ok(dtype));
            assert_eq!(serde_json::to_value(dtype).unwrap(), dtype.name());
        }
        let error = "int8".parse::<WeightDType>().unwrap_err().to_string();
        assert!(error.contains("int8") && error.contains("bfloat16"), "{error}");
    }
}
