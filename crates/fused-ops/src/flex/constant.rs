//! A quantised matrix on the host, as an operation holds it.

use std::fmt;

use burn::backend::tensor::FloatTensor;
use burn::backend::{BackendTensor, DispatchTensor, DispatchTensorKind, Flex, TensorMetadata};
use burn::tensor::{Tensor, TensorData};
use quantization::{Codes, QuantizedMatrix, Scales};
use rayon::prelude::*;

use super::buffer::rows_per_task;

/// Floats and integers are the same tensors on Flex.
type Host = FloatTensor<Flex>;

/// A quantised matrix on Flex, its inputs in the stored order. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Constant {
    codes: Host,
    table: Option<[f32; 16]>,
    scales: Host,
    nested: Option<(Host, Host, f32)>,
    offsets: Option<Host>,
    block_size: usize,
    dims: [usize; 2],
}

impl fmt::Debug for Constant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constant").field("dims", &self.dims).finish_non_exhaustive()
    }
}

impl Constant {
    /// A matrix, where it is on Flex.
    pub(crate) fn of(matrix: &QuantizedMatrix) -> Option<Self> {
        let tensors = matrix.tensors();
        let float = |tensor: Tensor<1>| host(tensor.into_dispatch());
        let nested = match tensors.nested {
            None => None,
            Some((codes, map, offset)) => Some((host(codes.into_dispatch())?, float(map)?, offset)),
        };
        let offsets = match tensors.offsets {
            None => None,
            Some(offsets) => Some(float(offsets)?),
        };
        let table = match tensors.table {
            None => None,
            Some(table) => Some(float(table)?.storage::<f32>().try_into().ok()?),
        };
        Some(Self {
            codes: host(tensors.codes.into_dispatch())?,
            table,
            scales: float(tensors.scales)?,
            nested,
            offsets,
            block_size: tensors.block_size,
            dims: matrix.dims(),
        })
    }

    /// `[in_features, out_features]`.
    pub(super) fn dims(&self) -> [usize; 2] {
        self.dims
    }

    /// The codes, rows of `in_features`.
    pub(super) fn codes(&self) -> Codes<'_> {
        Codes {
            bytes: self.codes.storage::<u8>(),
            table: self.table.as_ref(),
            scales: match &self.nested {
                None => Scales::Floats(self.scales.storage::<f32>()),
                Some((codes, map, offset)) => Scales::Nested {
                    codes: codes.storage::<u8>(),
                    map: map.storage::<f32>(),
                    scales: self.scales.storage::<f32>(),
                    offset: *offset,
                },
            },
            offsets: self.offsets.as_ref().map(|offsets| offsets.storage::<f32>()),
            block_size: self.block_size,
        }
    }

    /// The matrix in the order of its codes, `[out_features, in_features]`.
    pub(crate) fn decoded(&self) -> TensorData {
        let [inputs, outputs] = self.dims;
        let (mut values, task) = (vec![0.0f32; inputs * outputs], rows_per_task(1));
        let codes = self.codes();
        let parts = values.par_chunks_mut(task).enumerate();
        parts.for_each(|(i, part)| codes.decode(i * task, part));
        TensorData::new(values, [outputs, inputs])
    }
}

/// The tensor of the Flex backend below, in the order of its elements.
fn host(tensor: DispatchTensor) -> Option<Host> {
    fn inner(kind: DispatchTensorKind) -> Option<Host> {
        match kind {
            DispatchTensorKind::Flex(tensor) => match tensor {
                BackendTensor::Float(tensor) | BackendTensor::Int(tensor) => Some(tensor),
                BackendTensor::Autodiff(tensor) => Some(tensor.into_primitive()),
                _ => None,
            },
            DispatchTensorKind::Autodiff(kind) => inner(*kind),
            #[allow(unreachable_patterns)]
            _ => None,
        }
    }
    // A tensor whose elements are in order lies in the whole of its storage.
    inner(tensor.kind).map(|tensor| tensor.to_contiguous()).filter(|tensor| tensor.rank() == 1)
}
