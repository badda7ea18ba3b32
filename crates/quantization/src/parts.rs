use thiserror::Error;

use crate::codes::NESTED_BLOCK;
use crate::encode::encode;
use crate::{Codes, Quantization, Scales};

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
    /// The input that each place of a row is of, where these are in an order of their own, as in
    /// GPTQ with `desc_act`; else place `i` is of input `i`.
    pub order: Option<Vec<u32>>,
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
    /// Quantises rows of a checkpoint, `[out_features, in_features]`.
    ///
    /// # Panics
    ///
    /// When there are not as many values as the dimensions say.
    pub fn of_rows(values: &[f32], dims: [usize; 2], quantization: Quantization) -> Self {
        assert_eq!(values.len(), dims[0] * dims[1], "quantize: a value for each element");
        encode(values, dims, quantization)
    }

    /// The parts of so many outputs from `first` on, as if they had been quantised alone: blocks
    /// that reach over the end of a row are divided, and nested scales written out.
    ///
    /// # Panics
    ///
    /// When there are not so many outputs, or the parts do not fit each other.
    pub fn outputs(&self, first: usize, count: usize) -> Self {
        let in_features = self.dims[0];
        let elements = first * in_features..(first + count) * in_features;
        let block_size = common_divisor(self.block_size, in_features).max(1);
        let all = self.codes();
        let blocks = elements.start / block_size..elements.end / block_size;
        let old = |block: usize| block * block_size / self.block_size;
        let code = |at: usize| match at % 2 {
            0 => self.bytes[at / 2] >> 4,
            _ => self.bytes[at / 2] & 15,
        };
        let bytes = match self.table {
            None => self.bytes[elements].to_vec(),
            Some(_) => {
                let end = elements.end;
                let second = |at| if at < end { code(at) } else { 0 };
                elements.step_by(2).map(|at| code(at) << 4 | second(at + 1)).collect()
            }
        };
        Self {
            bytes,
            table: self.table.clone(),
            scales: blocks.clone().map(|block| all.scales.get(old(block))).collect(),
            nested: None,
            offsets: self.offsets.as_ref().map(|o| blocks.map(|block| o[old(block)]).collect()),
            block_size,
            dims: [in_features, count],
            order: self.order.clone(),
            quantization: self
                .quantization
                .filter(|_| block_size == self.block_size && self.nested.is_none()),
        }
    }

    /// Its codes, to be read; inputs in their [`order`](Self::order).
    ///
    /// # Panics
    ///
    /// When there is a table of another size than 16.
    pub fn codes(&self) -> Codes<'_> {
        Codes {
            bytes: &self.bytes,
            table: self
                .table
                .as_ref()
                .map(|table| table.first_chunk().expect("a table has 16 values")),
            scales: match &self.nested {
                None => Scales::Floats(&self.scales),
                Some(nested) => Scales::Nested {
                    codes: &nested.codes,
                    map: &nested.map,
                    scales: &self.scales,
                    offset: nested.offset,
                },
            },
            offsets: self.offsets.as_deref(),
            block_size: self.block_size,
        }
    }

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
        if let Some(order) = &self.order {
            same("places of inputs", order.len(), self.dims[0])?;
            let mut placed = vec![false; self.dims[0]];
            for input in order {
                if let Some(placed) = placed.get_mut(*input as usize) {
                    *placed = true;
                }
            }
            let found = placed.iter().filter(|placed| **placed).count();
            same("inputs that have a place", found, self.dims[0])?;
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

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(parts: &QuantizedParts) -> Vec<f32> {
        let mut values = vec![0.0; parts.dims[0] * parts.dims[1]];
        parts.codes().decode(0, &mut values);
        values
    }

    #[test]
    fn outputs_of_a_matrix_keep_the_order_of_its_inputs() {
        let values: Vec<f32> = (0..8 * 3).map(|i| i as f32).collect();
        let order: Vec<u32> = (0..8).rev().collect();
        let whole = QuantizedParts {
            order: Some(order.clone()),
            ..QuantizedParts::of_rows(&values, [3, 8], Quantization::Int8)
        };
        assert_eq!(whole.outputs(1, 2).order, Some(order));
    }

    #[test]
    fn outputs_of_a_matrix_are_its_rows() {
        for (inputs, outputs) in [(64, 9), (96, 7), (33, 6)] {
            let values: Vec<f32> = (0..inputs * outputs).map(|i| (i as f32 * 0.7).sin()).collect();
            for quantization in Quantization::ALL {
                let parts = QuantizedParts::of_rows(&values, [outputs, inputs], quantization);
                let whole = decoded(&parts);
                for (first, count) in [(0, outputs), (1, 3), (2, outputs - 2), (outputs - 1, 1)] {
                    let part = parts.outputs(first, count);
                    assert_eq!(part.check(), Ok(()));
                    let rows = first * inputs..(first + count) * inputs;
                    assert_eq!(decoded(&part), whole[rows], "{quantization} {inputs} {first}");
                }
            }
        }
    }
}
