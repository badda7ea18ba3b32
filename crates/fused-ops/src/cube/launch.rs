use burn::backend::TensorMetadata;
use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use cubecl::{CubeCount, CubeDim, calculate_cube_count_elemwise};

/// Cubes along one axis of a grid: what every device allows, and a whole number of them a row.
pub(super) const ALONG: u32 = 1 << 15;

/// The most units that share a row.
const UNITS: usize = 256;

/// A new f32 tensor beside another.
pub(super) fn beside(tensor: &CubeTensor, shape: Shape) -> CubeTensor {
    let buffer = tensor.client.empty(shape.num_elements() * size_of::<f32>());
    let (client, device) = (tensor.client.clone(), tensor.device.clone());
    CubeTensor::new_contiguous(client, device, shape, buffer, DType::F32)
}

/// A new f32 tensor of the shape of another.
pub(super) fn like(tensor: &CubeTensor) -> CubeTensor {
    beside(tensor, tensor.shape())
}

/// A unit for each of `elements`.
pub(super) fn each(tensor: &CubeTensor, elements: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(&tensor.client, elements);
    (calculate_cube_count_elemwise(&tensor.client, elements, dim), dim)
}

/// A cube for each of `rows`, and how many units it has for a row of `width`: a power of two.
pub(super) fn by_row(
    tensor: &CubeTensor,
    rows: usize,
    width: usize,
) -> (CubeCount, CubeDim, usize) {
    let most = tensor.client.properties().hardware.max_cube_dim.0 as usize;
    let units = width.div_ceil(2).next_power_of_two().clamp(32, UNITS).min(most);
    let along = (rows as u32).clamp(1, ALONG);
    let count = CubeCount::Static(along, (rows as u32).div_ceil(along).max(1), 1);
    (count, CubeDim::new_1d(units as u32), units)
}
