//! Codes of elements, as bitsandbytes chooses them.

use std::thread;

use crate::codes::NESTED_BLOCK;
use crate::parts::NestedScales;
use crate::tables::dynamic_map;
use crate::{Quantization, QuantizedParts};

/// Fewer elements than this are coded by one thread.
const PARALLEL_ELEMENTS: usize = 1 << 18;

/// Codes rows of `in_features`, `[out_features, in_features]`.
pub(crate) fn encode(
    values: &[f32],
    [out_features, in_features]: [usize; 2],
    quantization: Quantization,
) -> QuantizedParts {
    let block_size = quantization.block_size(in_features);
    let (bytes, scales) = match quantization.table() {
        None => coded(values, block_size, 1, int8),
        Some(table) => {
            let codes = Nearest::new(&table);
            coded(values, block_size, 2, |block, bytes| codes.block(block, bytes))
        }
    };
    let (scales, nested) = match quantization {
        Quantization::Nf4Double => {
            let (scales, nested) = nest(&scales);
            (scales, Some(nested))
        }
        _ => (scales, None),
    };
    QuantizedParts {
        bytes,
        table: quantization.table().map(Vec::from),
        scales,
        nested,
        offsets: None,
        block_size,
        dims: [in_features, out_features],
        order: None,
        quantization: Some(quantization),
    }
}

/// The codes of all blocks, `per_byte` in a byte, and the scale of each. Blocks are whole bytes.
pub(crate) fn coded(
    values: &[f32],
    block_size: usize,
    per_byte: usize,
    block: impl Fn(&[f32], &mut [u8]) -> f32 + Sync,
) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = vec![0; values.len().div_ceil(per_byte)];
    let mut scales = vec![0.0; values.len().div_ceil(block_size)];
    let threads = match thread::available_parallelism() {
        Ok(threads) if values.len() >= PARALLEL_ELEMENTS => threads.get(),
        _ => 1,
    };
    let blocks = scales.len().div_ceil(threads).max(1);
    let parts = values
        .chunks(blocks * block_size)
        .zip(bytes.chunks_mut(blocks * block_size / per_byte))
        .zip(scales.chunks_mut(blocks));
    thread::scope(|scope| {
        for ((values, bytes), scales) in parts {
            let block = &block;
            scope.spawn(move || {
                let bytes = bytes.chunks_mut(block_size / per_byte);
                for ((values, bytes), scale) in values.chunks(block_size).zip(bytes).zip(scales) {
                    *scale = block(values, bytes);
                }
            });
        }
    });
    (bytes, scales)
}

pub(crate) fn absmax(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |max, value| value.abs().max(max))
}

/// Codes of -127 to 127, rounded to even.
fn int8(values: &[f32], bytes: &mut [u8]) -> f32 {
    let absmax = absmax(values);
    let factor = if absmax > 0.0 { 127.0 / absmax } else { 0.0 };
    for (byte, value) in bytes.iter_mut().zip(values) {
        *byte = (value * factor).round_ties_even() as i8 as u8;
    }
    absmax / 127.0
}

/// Finds the nearest value of a table between -1 and 1.
pub(crate) struct Nearest {
    /// The codes in the order of their values.
    codes: Vec<u8>,
    /// What lies half-way between neighbours.
    pub(crate) bounds: Vec<f32>,
}

impl Nearest {
    pub(crate) fn new(table: &[f32]) -> Self {
        let mut codes: Vec<u8> = (0..table.len()).map(|code| code as u8).collect();
        codes.sort_by(|a, b| table[usize::from(*a)].total_cmp(&table[usize::from(*b)]));
        let value = |code: &u8| table[usize::from(*code)];
        let bounds = codes.windows(2).map(|pair| (value(&pair[0]) + value(&pair[1])) / 2.0);
        Self { bounds: bounds.collect(), codes }
    }

    /// The code of a value in tables of 16, by counting, which takes no branches.
    fn of_16(&self, value: f32) -> u8 {
        let above = self.bounds.iter().map(|bound| u8::from(value > *bound)).sum::<u8>();
        self.codes[usize::from(above)]
    }

    /// The code of a value.
    pub(crate) fn of(&self, value: f32) -> u8 {
        self.codes[self.bounds.partition_point(|bound| value > *bound)]
    }

    /// Codes a block, two in a byte, and gives its scale.
    fn block(&self, values: &[f32], bytes: &mut [u8]) -> f32 {
        let absmax = absmax(values);
        let factor = if absmax > 0.0 { 1.0 / absmax } else { 0.0 };
        for (byte, pair) in bytes.iter_mut().zip(values.chunks(2)) {
            let code = |at: usize| self.of_16(pair.get(at).map_or(0.0, |value| value * factor));
            *byte = code(0) << 4 | code(1);
        }
        absmax
    }
}

/// Scales in 8 bits: what they differ from their mean by, in blocks.
fn nest(scales: &[f32]) -> (Vec<f32>, NestedScales) {
    let sum: f64 = scales.iter().map(|scale| f64::from(*scale)).sum();
    let offset = (sum / scales.len().max(1) as f64) as f32;
    let map = dynamic_map(true);
    let nearest = Nearest::new(&map);
    let mut codes = Vec::with_capacity(scales.len());
    let outer = scales.chunks(NESTED_BLOCK).map(|block| {
        let rest: Vec<f32> = block.iter().map(|scale| scale - offset).collect();
        let absmax = absmax(&rest);
        let factor = if absmax > 0.0 { 1.0 / absmax } else { 0.0 };
        codes.extend(rest.iter().map(|scale| nearest.of(scale * factor)));
        absmax
    });
    (outer.collect(), NestedScales { codes, map, offset })
}
