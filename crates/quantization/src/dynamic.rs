//! Numbers of any size in 8 bits, as 8-bit optimisers keep what they know of parameters.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::PartsError;
use crate::encode::{Nearest, absmax, coded};
use crate::tables::dynamic_map;

/// How many numbers share a scale.
const BLOCK: usize = 256;

/// What codes stand for, in parts of the largest magnitude of their block: 256 values, seven decades
/// of them, each divided in twice as many parts as the one below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DynamicMap {
    /// Between -1 and 1.
    Signed,
    /// Between 0 and 1, twice as fine.
    Unsigned,
}

/// Numbers in 8 bits each and a scale for each 256 of them: `x = map[code] * scale`, where the scale
/// is the largest magnitude of the block.
///
/// A negative number never becomes 0, so a momentum keeps its sign there. Source: Dettmers et al.,
/// *8-bit Optimizers via Block-wise Quantization*, arXiv 2110.02861; the package bitsandbytes.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use quantization::{DynamicBlocks, DynamicMap};
///
/// let values = Tensor::<1>::from_data([0.5, -0.25, 1e-4], &Device::flex());
/// let blocks = DynamicBlocks::pack(values.clone(), DynamicMap::Signed);
/// let error: f32 = (blocks.unpack() - values).abs().max().into_scalar();
/// assert!(error < 0.01);
/// ```
#[derive(Debug, Clone)]
pub struct DynamicBlocks {
    codes: Tensor<1, Int>,
    scales: Tensor<1>,
    map: DynamicMap,
}

impl DynamicMap {
    /// In ascending order, so that a code is the place of a value.
    fn values(self) -> Vec<f32> {
        dynamic_map(self == Self::Signed)
    }

    /// Code `c` is that of the numbers above `c` bounds.
    fn nearest(self) -> Nearest {
        let values = self.values();
        let mut nearest = Nearest::new(&values);
        if let Some(zero) = values.iter().position(|value| *value == 0.0).filter(|at| *at > 0) {
            nearest.bounds[zero - 1] = -f32::MIN_POSITIVE;
        }
        nearest
    }
}

impl DynamicBlocks {
    /// Packs numbers, `[n]` of f32, by Burn's operations on any backend.
    pub fn pack(values: Tensor<1>, map: DynamicMap) -> Self {
        let (device, [len]) = (values.device(), values.dims());
        let scales = in_blocks(values.clone()).abs().max_dim(1);
        let empty = scales.clone().equal_elem(0.0);
        let factors = scales.clone().mask_fill(empty.clone(), 1.0).recip().mask_fill(empty, 0.0);
        let parts = values * spread(factors.squeeze_dim(1), len);

        // A search by halves: how many bounds are below.
        let bounds = floats(map.nearest().bounds, &device);
        let mut below = Tensor::<1, Int>::zeros([len], &device).cast(DType::I32);
        for step in (0..8).rev().map(|bit| 1i64 << bit) {
            let bound = bounds.clone().select(0, below.clone() + (step - 1));
            let above = parts.clone().greater(bound).int().cast(DType::I32);
            below = below + above * step;
        }
        Self { codes: below.cast(DType::U8), scales: scales.squeeze_dim(1), map }
    }

    /// As [`pack`](Self::pack), and equal to it, in one pass of the host.
    pub fn pack_on_host(values: Tensor<1>, map: DynamicMap) -> Self {
        let device = values.device();
        let values: Vec<f32> = values.into_data().iter::<f32>().collect();
        let nearest = map.nearest();
        let (bytes, scales) = coded(&values, BLOCK, 1, |block, bytes| {
            let scale = absmax(block);
            let factor = if scale > 0.0 { 1.0 / scale } else { 0.0 };
            for (byte, value) in bytes.iter_mut().zip(block) {
                *byte = nearest.of(value * factor);
            }
            scale
        });
        Self { codes: codes(bytes, &device), scales: floats(scales, &device), map }
    }

    /// What [`codes`](Self::codes) and [`scales`](Self::scales) gave.
    ///
    /// # Errors
    ///
    /// [`PartsError`] where there is not a scale for each 256 codes.
    pub fn from_parts(
        bytes: Vec<u8>,
        scales: Vec<f32>,
        map: DynamicMap,
        device: &Device,
    ) -> Result<Self, PartsError> {
        let expected = Self::blocks(bytes.len());
        if scales.len() != expected {
            return Err(PartsError { what: "scales", found: scales.len(), expected });
        }
        Ok(Self { codes: codes(bytes, device), scales: floats(scales, device), map })
    }

    /// How many scales `len` numbers have.
    pub fn blocks(len: usize) -> usize {
        len.div_ceil(BLOCK)
    }

    /// The numbers, `[n]` of f32, by Burn's operations on any backend.
    pub fn unpack(&self) -> Tensor<1> {
        let [len] = self.codes.dims();
        let map = floats(self.map.values(), &self.codes.device());
        map.select(0, self.codes.clone().cast(DType::I32)) * spread(self.scales.clone(), len)
    }

    /// As [`unpack`](Self::unpack), and equal to it, in one pass of the host.
    pub fn unpack_on_host(&self) -> Tensor<1> {
        let (map, scales) = (self.map.values(), self.scales());
        let blocks = self.codes();
        let blocks = blocks.chunks(BLOCK).zip(scales);
        let values = blocks.flat_map(|(codes, scale)| {
            let map = &map;
            codes.iter().map(move |code| map[usize::from(*code)] * scale)
        });
        floats(values.collect(), &self.codes.device())
    }

    /// The code of each number.
    pub fn codes(&self) -> Vec<u8> {
        self.codes.clone().into_data().iter::<u8>().collect()
    }

    /// The scale of each block.
    pub fn scales(&self) -> Vec<f32> {
        self.scales.clone().into_data().iter::<f32>().collect()
    }
}

/// `[n]` to `[blocks, 256]`, the last one filled up with zeros.
fn in_blocks(values: Tensor<1>) -> Tensor<2> {
    let [len] = values.dims();
    let missing = len.next_multiple_of(BLOCK) - len;
    let values = match missing {
        0 => values,
        _ => Tensor::cat(vec![values.clone(), Tensor::zeros([missing], &values.device())], 0),
    };
    values.reshape([-1, BLOCK as i64])
}

/// The number of its block for each of `len` numbers.
fn spread(of_blocks: Tensor<1>, len: usize) -> Tensor<1> {
    of_blocks.unsqueeze_dim::<2>(1).repeat_dim(1, BLOCK).reshape([-1]).narrow(0, 0, len)
}

fn floats(values: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = values.len();
    Tensor::from_data(TensorData::new(values, [len]), (device, DType::F32))
}

fn codes(bytes: Vec<u8>, device: &Device) -> Tensor<1, Int> {
    let len = bytes.len();
    Tensor::from_data(TensorData::new(bytes, [len]), (device, DType::U8))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of seven decades, of both signs, with zeros; the last block is not full.
    fn values(len: usize) -> Vec<f32> {
        let value = |i: usize| {
            let sign = [-1.0, 1.0, 1.0][i % 3] * if i.is_multiple_of(17) { 0.0 } else { 1.0 };
            let part = ((i * 7919) % 1000) as f32 / 1000.0;
            sign * part * 10f32.powi(-((i % 8) as i32))
        };
        (0..len).map(value).collect()
    }

    fn packed(values: &[f32], map: DynamicMap) -> [DynamicBlocks; 2] {
        let tensor = || floats(values.to_vec(), &Device::flex());
        [DynamicBlocks::pack(tensor(), map), DynamicBlocks::pack_on_host(tensor(), map)]
    }

    #[test]
    fn the_host_and_operations_pack_alike() {
        for map in [DynamicMap::Signed, DynamicMap::Unsigned] {
            let values: Vec<f32> = match map {
                DynamicMap::Signed => values(1000),
                DynamicMap::Unsigned => values(1000).iter().map(|x| x.abs()).collect(),
            };
            let [composed, host] = packed(&values, map);
            assert_eq!(composed.codes(), host.codes());
            assert_eq!(composed.scales(), host.scales());
            assert_eq!(host.scales().len(), DynamicBlocks::blocks(1000));
            let floats = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().collect::<Vec<_>>();
            let unpacked = floats(host.unpack());
            assert_eq!(unpacked, floats(host.unpack_on_host()));
            for (i, (found, value)) in unpacked.iter().zip(&values).enumerate() {
                let scale = host.scales()[i / BLOCK];
                let nearest = map.values().into_iter().map(|part| (part * scale - value).abs());
                let bound = nearest.fold(f32::MAX, f32::min) + 5.5e-7 * scale;
                assert!((found - value).abs() <= bound, "{map:?}: {value} became {found}");
            }
        }
    }

    #[test]
    fn the_largest_of_a_block_and_zeros_stay_as_they_are() {
        let [_, blocks] = packed(&[0.0, 3.0, 0.0, -1e-9], DynamicMap::Signed);
        let unpacked: Vec<f32> = blocks.unpack().into_data().iter::<f32>().collect();
        assert_eq!(unpacked[..3], [0.0, 3.0, 0.0]);
        assert!(unpacked[3] < 0.0, "a negative number stays one");
        let [_, zeros] = packed(&[0.0; 300], DynamicMap::Unsigned);
        assert_eq!(zeros.unpack().abs().max().into_scalar::<f32>(), 0.0);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let [_, blocks] = packed(&values(600), DynamicMap::Signed);
        let (codes, scales) = (blocks.codes(), blocks.scales());
        let of = |codes: &[u8], scales: &[f32]| {
            let (codes, scales) = (codes.to_vec(), scales.to_vec());
            DynamicBlocks::from_parts(codes, scales, DynamicMap::Signed, &Device::flex())
        };
        let same = of(&codes, &scales).unwrap().unpack().into_data();
        assert_eq!(same, blocks.unpack().into_data());
        assert!(of(&codes, &scales[..2]).is_err());
    }
}
