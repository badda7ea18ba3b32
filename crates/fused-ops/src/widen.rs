use burn::tensor::{DType, Device, Tensor};

/// Halves as files have them: two bytes each, the lower first.
#[derive(Debug, Clone, Copy)]
pub struct StoredHalves<'a> {
    /// The bytes of all elements, row by row.
    pub bytes: &'a [u8],
    /// `F16` or `BF16`.
    pub dtype: DType,
    /// The columns of the matrix in the file, where it is to be transposed.
    pub columns: Option<usize>,
}

/// The f32 that stored halves stand for, widened and transposed by a GPU, so that the host sends them as they are and
/// makes no f32. `None` where there are no kernels for `device`, and for other types. All elements must be finite.
///
/// # Panics
///
/// When the elements are not those of `shape`.
pub fn widened<const D: usize>(
    halves: StoredHalves<'_>,
    shape: [usize; D],
    device: &Device,
) -> Option<Tensor<D>> {
    let elements: usize = shape.iter().product();
    assert!(2 * elements == halves.bytes.len(), "stored halves: as many as the shape has");
    #[cfg(device_kernels)]
    return crate::cube::widened(halves, shape, device);
    #[cfg(not(device_kernels))]
    {
        let _ = device;
        None
    }
}
