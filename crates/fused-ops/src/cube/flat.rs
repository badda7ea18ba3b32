//! Tensors side by side in one buffer, so that one kernel goes over all of them.

use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::SequenceArg;

use super::kernel;
use super::launch::{beside, each};

/// The tensors that one kernel gathers: with the buffer that it writes no more than any device binds.
pub(super) const GATHERED: usize = 14;

/// The elements that are copied together: what is copied is there twice for as long as it is used.
const LARGEST: usize = 1 << 24;

/// The tensors as those of kernels; `None` where they are others.
pub(crate) fn on_device(tensors: &[Tensor<1>]) -> Option<Vec<CubeTensor>> {
    let each = tensors.iter().map(|tensor| {
        let tensor = tensor.clone().try_into_primitive::<CubeBackend>().ok()?;
        (tensor.dtype == DType::F32).then_some(tensor)
    });
    each.collect()
}

/// The other way round.
pub(crate) fn to_tensors(tensors: Vec<CubeTensor>) -> Vec<Tensor<1>> {
    tensors.into_iter().map(Tensor::from_primitive::<CubeBackend>).collect()
}

/// How many tensors, one after the other, are worked on together each time.
pub(super) fn runs(tensors: &[CubeTensor]) -> Vec<usize> {
    let (mut runs, mut held) = (Vec::new(), 0);
    for tensor in tensors {
        let elements = tensor.shape().num_elements();
        match runs.last_mut() {
            Some(run) if held + elements <= LARGEST => (*run, held) = (*run + 1, held + elements),
            _ => {
                runs.push(1);
                held = elements;
            }
        }
    }
    runs
}

/// Where tensors of these sizes lie in one buffer.
pub(super) struct Layout {
    shapes: Vec<Shape>,
    /// Their first elements; what is between them belongs to none.
    starts: Vec<usize>,
    len: usize,
}

impl Layout {
    pub(super) fn of(tensors: &[CubeTensor]) -> Self {
        match tensors.first() {
            None => Self { shapes: Vec::new(), starts: Vec::new(), len: 0 },
            Some(first) => Self::of_shapes(first, tensors.iter().map(CubeTensor::shape).collect()),
        }
    }

    /// Places for tensors of some shapes.
    pub(super) fn of_shapes(like: &CubeTensor, shapes: Vec<Shape>) -> Self {
        let step = step(like);
        let (mut starts, mut len) = (Vec::with_capacity(shapes.len()), 0);
        for shape in &shapes {
            starts.push(len);
            len += shape.num_elements().next_multiple_of(step);
        }
        Self { shapes, starts, len }
    }

    /// Places for `count` tensors of a shape.
    pub(super) fn even(like: &CubeTensor, shape: Shape, count: usize) -> Self {
        Self::of_shapes(like, vec![shape; count])
    }

    /// The elements of the buffer.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where each begins, for a kernel.
    pub(super) fn places(&self) -> SequenceArg<u32> {
        let mut places = SequenceArg::new();
        self.starts.iter().for_each(|start| places.push(*start as u32));
        places
    }

    /// The end of a tensor's place.
    fn end(&self, at: usize) -> usize {
        self.starts.get(at + 1).copied().unwrap_or(self.len)
    }

    /// The tensors in one buffer, `[len]`: the one in which they lie so, else a copy.
    pub(super) fn flat(&self, tensors: &[CubeTensor]) -> Option<CubeTensor> {
        self.found(tensors).or_else(|| self.gathered(tensors))
    }

    /// A copy of the tensors in one buffer, `[len]`, with 0 between them.
    pub(super) fn gathered(&self, tensors: &[CubeTensor]) -> Option<CubeTensor> {
        let first = tensors.first()?;
        let flat = beside(first, Shape::from([self.len]));
        for (chunk, tensors) in tensors.chunks(GATHERED).enumerate() {
            let at = chunk * GATHERED;
            let (start, end) = (self.starts[at], self.end(at + tensors.len() - 1));
            let out = part(&flat, start, end - start, Shape::from([end - start]));
            let (count, dim) = each(&out, end - start);
            let mut places = SequenceArg::new();
            let mut inputs = SequenceArg::new();
            for (i, tensor) in tensors.iter().enumerate() {
                places.push((self.starts[at + i] - start) as u32);
                inputs.push(into_contiguous(tensor.clone()).into_tensor_arg());
            }
            let client = out.client.clone();
            kernel::gather::launch(&client, count, dim, inputs, places, out.into_tensor_arg());
        }
        Some(flat)
    }

    /// The buffer in which the tensors lie as here.
    fn found(&self, tensors: &[CubeTensor]) -> Option<CubeTensor> {
        let (first, bytes) = (tensors.first()?, size_of::<f32>() as u64);
        let begin = first.handle.offset_start.unwrap_or(0);
        let descriptor = first.handle.memory.descriptor();
        let lies = |(tensor, start): (&CubeTensor, &usize)| {
            tensor.handle.memory.descriptor() == descriptor
                && tensor.handle.offset_start.unwrap_or(0) == begin + *start as u64 * bytes
                && tensor.is_contiguous()
        };
        let end = begin + self.len as u64 * bytes;
        let size = first.handle.size();
        if tensors.len() < 2 || end > size || !tensors.iter().zip(&self.starts).all(lies) {
            return None;
        }
        let mut handle = first.handle.clone();
        handle.offset_end = Some(size - end);
        let (client, device) = (first.client.clone(), first.device.clone());
        let shape = Shape::from([self.len]);
        Some(CubeTensor::new_contiguous(client, device, shape, handle, DType::F32))
    }

    /// The tensors in a buffer, which they share.
    pub(super) fn parts(&self, flat: &CubeTensor) -> Vec<CubeTensor> {
        let all = self.shapes.iter().zip(&self.starts);
        all.map(|(shape, start)| part(flat, *start, shape.num_elements(), shape.clone())).collect()
    }
}

/// The elements between which a buffer may begin: each tensor is one of its own to a kernel.
fn step(tensor: &CubeTensor) -> usize {
    let alignment = tensor.client.properties().memory.alignment as usize;
    alignment.div_ceil(size_of::<f32>()).max(1)
}

/// Some elements of a buffer.
fn part(flat: &CubeTensor, start: usize, len: usize, shape: Shape) -> CubeTensor {
    let bytes = size_of::<f32>();
    let behind = flat.shape().num_elements() - start - len;
    let handle = flat.handle.clone();
    let handle = handle.offset_start((start * bytes) as u64).offset_end((behind * bytes) as u64);
    let (client, device) = (flat.client.clone(), flat.device.clone());
    CubeTensor::new_contiguous(client, device, shape, handle, DType::F32)
}
