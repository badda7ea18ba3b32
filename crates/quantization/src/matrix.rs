use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use crate::codes::NESTED_BLOCK;
use crate::{PartsError, Quantization, QuantizedParts};

/// A frozen matrix `[in_features, out_features]` of 8 or 4 bits an element.
///
/// It has no parameters: nothing in it is ever trained. Its codes are in the order of a checkpoint,
/// rows of `in_features`; the inputs within a row may have an [order](Self::order()) of their own.
#[derive(Module, Debug)]
pub struct QuantizedMatrix {
    codes: Tensor<1, Int>,
    table: Option<Tensor<1>>,
    scales: Tensor<1>,
    nested: Option<Nested>,
    offsets: Option<Tensor<1>>,
    order: Option<Tensor<1, Int>>,
    block_size: usize,
    in_features: usize,
    out_features: usize,
    #[module(skip)]
    quantization: Option<Quantization>,
}

/// The scales of blocks in 8 bits.
#[derive(Module, Debug)]
struct Nested {
    codes: Tensor<1, Int>,
    map: Tensor<1>,
    offset: f32,
}

/// The tensors of a [`QuantizedMatrix`], for whoever multiplies with them.
#[derive(Debug, Clone)]
pub struct MatrixTensors {
    /// A code a byte, or with a table two.
    pub codes: Tensor<1, Int>,
    /// What four-bit codes stand for.
    pub table: Option<Tensor<1>>,
    /// A factor for each block, or for 256 of them.
    pub scales: Tensor<1>,
    /// The codes of blocks' factors, what they stand for, and what is added.
    pub nested: Option<(Tensor<1, Int>, Tensor<1>, f32)>,
    /// What is added in each block.
    pub offsets: Option<Tensor<1>>,
    /// How many elements share a scale.
    pub block_size: usize,
}

impl QuantizedMatrix {
    /// Quantises a matrix `[in_features, out_features]`, on the host.
    pub fn quantize(weight: Tensor<2>, quantization: Quantization) -> Self {
        let (device, [inputs, outputs]) = (weight.device(), weight.dims());
        let rows = weight.detach().transpose().into_data().convert::<f32>();
        let values: Vec<f32> = rows.iter::<f32>().collect();
        let parts = QuantizedParts::of_rows(&values, [outputs, inputs], quantization);
        Self::from_checked(parts, &device)
    }

    /// Puts what a file holds on a device.
    ///
    /// # Errors
    ///
    /// [`PartsError`] when the parts do not fit each other.
    pub fn from_parts(parts: QuantizedParts, device: &Device) -> Result<Self, PartsError> {
        parts.check()?;
        Ok(Self::from_checked(parts, device))
    }

    /// As [`from_parts`](Self::from_parts), of parts that are known to fit each other.
    pub fn from_checked(parts: QuantizedParts, device: &Device) -> Self {
        let bytes = |bytes: Vec<u8>| {
            let len = bytes.len();
            Tensor::from_data(TensorData::new(bytes, [len]), (device, DType::U8))
        };
        let floats = |values: Vec<f32>| {
            let len = values.len();
            Tensor::from_data(TensorData::new(values, [len]), (device, DType::F32))
        };
        let order = parts.order.map(|order| {
            let inputs: Vec<i32> = order.into_iter().map(|input| input as i32).collect();
            Tensor::from_data(inputs.as_slice(), (device, DType::I32))
        });
        let [in_features, out_features] = parts.dims;
        Self {
            codes: bytes(parts.bytes),
            table: parts.table.map(floats),
            scales: floats(parts.scales),
            nested: parts.nested.map(|nested| Nested {
                codes: bytes(nested.codes),
                map: floats(nested.map),
                offset: nested.offset,
            }),
            offsets: parts.offsets.map(floats),
            order,
            block_size: parts.block_size,
            in_features,
            out_features,
            quantization: parts.quantization,
        }
    }

    /// `[in_features, out_features]`.
    pub fn dims(&self) -> [usize; 2] {
        [self.in_features, self.out_features]
    }

    /// The device that it is on.
    pub fn device(&self) -> Device {
        self.scales.device()
    }

    /// How it is held; none where other matrices cannot be made so here.
    pub fn quantization(&self) -> Option<Quantization> {
        self.quantization
    }

    /// The input that each place of a stored row is of, `[in_features]`; none where place `i` is of
    /// input `i`.
    ///
    /// Products take the stored matrix as it is: `x W = x[.., order] W[order, ..]`.
    pub fn order(&self) -> Option<Tensor<1, Int>> {
        self.order.clone()
    }

    /// The memory that it takes, in bytes, without the tables that all share.
    pub fn bytes(&self) -> usize {
        let bytes = |tensor: &Tensor<1, Int>| tensor.dims()[0];
        let floats = |tensor: &Tensor<1>| 4 * tensor.dims()[0];
        bytes(&self.codes)
            + floats(&self.scales)
            + self.offsets.as_ref().map_or(0, floats)
            + self.order.as_ref().map_or(0, |order| 4 * order.dims()[0])
            + self.nested.as_ref().map_or(0, |nested| bytes(&nested.codes))
    }

    /// Its tensors but the order of its inputs.
    pub fn tensors(&self) -> MatrixTensors {
        let nested = self.nested.as_ref();
        MatrixTensors {
            codes: self.codes.clone(),
            table: self.table.clone(),
            scales: self.scales.clone(),
            nested: nested.map(|nested| (nested.codes.clone(), nested.map.clone(), nested.offset)),
            offsets: self.offsets.clone(),
            block_size: self.block_size,
        }
    }

    /// The whole matrix in f32, `[in_features, out_features]`, by Burn's operations on any backend.
    pub fn dequantize_composed(&self) -> Tensor<2> {
        self.of_inputs(self.dequantize_stored())
    }

    /// `W` of a matrix whose inputs are in the stored order.
    pub fn of_inputs(&self, stored: Tensor<2>) -> Tensor<2> {
        match &self.order {
            None => stored,
            // What sorts a permutation is its inverse.
            Some(order) => stored.select(0, order.clone().argsort(0)),
        }
    }

    /// As [`dequantize_composed`](Self::dequantize_composed), with the inputs in the stored order.
    pub fn dequantize_stored(&self) -> Tensor<2> {
        let elements = self.in_features * self.out_features;
        let codes = self.codes.clone().cast(DType::I32);
        let values = match &self.table {
            // The bytes of negative numbers are those above 127.
            None => {
                let negative = codes.clone().greater_elem(127).int().cast(DType::I32);
                (codes - negative * 256).float()
            }
            Some(table) => {
                let first = codes.clone() / 16;
                let second = codes - first.clone() * 16;
                let codes: Tensor<2, Int> = Tensor::stack(vec![first, second], 1);
                table.clone().select(0, codes.reshape([-1]).narrow(0, 0, elements))
            }
        };
        let values = values.cast(DType::F32);
        let blocks = elements.div_ceil(self.block_size);
        let each = |scales: Tensor<1>, times: usize, count: usize| -> Tensor<1> {
            let wide: Tensor<2> = scales.unsqueeze_dim::<2>(1).repeat_dim(1, times);
            wide.reshape([-1]).narrow(0, 0, count)
        };
        let scales = match &self.nested {
            None => self.scales.clone(),
            Some(nested) => {
                let values = nested.map.clone().select(0, nested.codes.clone().cast(DType::I32));
                values * each(self.scales.clone(), NESTED_BLOCK, blocks) + nested.offset
            }
        };
        let mut values = values * each(scales, self.block_size, elements);
        if let Some(offsets) = &self.offsets {
            values = values + each(offsets.clone(), self.block_size, elements);
        }
        values.reshape([self.out_features, self.in_features]).transpose()
    }
}
