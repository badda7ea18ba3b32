use burn::tensor::Tensor;
use fused_ops::HostValues;

/// Numbers on the host, with the width of their rows.
pub(crate) struct HostRows {
    pub(crate) values: HostValues,
    pub(crate) width: usize,
}

impl HostRows {
    pub(crate) fn of(tensor: &Tensor<2>) -> Self {
        let [_, width] = tensor.dims();
        Self { values: HostValues::of(tensor), width: width.max(1) }
    }

    pub(crate) fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..][..self.width]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }
}
