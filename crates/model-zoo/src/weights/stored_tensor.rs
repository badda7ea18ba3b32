use safetensors::Dtype;

/// A tensor as a file holds it: row-major, little-endian.
pub(super) struct StoredTensor<'a> {
    pub(super) dtype: Dtype,
    pub(super) shape: &'a [usize],
    pub(super) bytes: &'a [u8],
}
