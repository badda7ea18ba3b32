use thiserror::Error;

use crate::Quantization;
use crate::codes::NESTED_BLOCK;

/// What a quantised matrix consists of, on the host; see [`Codes`](crate::Codes).
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedParts {
    /// A code a byte, or with a table two, the first one in the higher half.
    pub bytes: Vec<u8>,
    /// The 16 values that codes stand for; without them, codes are `i8`.
    pub table: Option<Vec<f32>>,
    /// A factor for each block, or with nested scales for 256 of them.
    pub scales: Vec<f32>,
    /// The factors of blocks in 8 bits.
    pub nested: Option<NestedScales>,
    /// What is added in each block.
    pub offsets: Option<Vec<f32>>,
    /// How many elements share a scale.
    pub block_size: usize,
    /// `[in_features, out_features]`.
    pub dims: [usize; 2],
    /// How others are quantised in the same way; none where that is not known here.
    pub quantization: Option<Quantization>,
}

/// The factors of blocks in 8 bits, relative to others: `map[code] * scale + offset`.
#[derive(Debug, Clone, PartialEq)]
pub struct NestedScales {
    /// A code for each block.
    pub codes: Vec<u8>,
    /// The 256 values that codes stand for.
    pub map: Vec<f32>,
    /// Added to all.
    pub offset: f32,
}

/// Parts that do not fit each other.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}: {found}, expected {expected}")]
pub struct PartsError {
    /// What does not fit.
    pub what: &'static str,
    /// How many there are.
    pub found: usize,
    /// How many there should be.
    pub expected: usize,
}

impl QuantizedParts {
    /// Whether all parts have the sizes that follow from the dimensions.
    ///
    /// # Errors
    ///
    /// [`PartsError`] names the first that has not.
    pub fn check(&self) -> Result<(), PartsError> {
        let same = |what, found: usize, expected: usize| match found == expected {
            true => Ok(()),
            false => Err(PartsError { what, found, expected }),
        };
        let elements = self.dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim));
        let elements = elements.unwrap_or(usize::MAX);
        let blocks = elements.div_ceil(self.block_size.max(1));
        if self.block_size == 0 {
            same("elements of a block", 0, 1)?;
        }
        let per_byte = if self.table.is_some() { 2 } else { 1 };
        same("bytes of codes", self.bytes.len(), elements.div_ceil(per_byte))?;
        if let Some(table) = &self.table {
            same("values of codes", table.len(), 16)?;
        }
        if let Some(offsets) = &self.offsets {
            same("offsets", offsets.len(), blocks)?;
        }
        match &self.nested {
            None => same("scales", self.scales.len(), blocks),
            Some(nested) => {
                same("codes of scales", nested.codes.len(), blocks)?;
                same("values of codes of scales", nested.map.len(), 256)?;
                same("scales of scales", self.scales.len(), blocks.div_ceil(NESTED_BLOCK))
            }
        }
    }
}
