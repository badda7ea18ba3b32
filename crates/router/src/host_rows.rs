use burn::tensor::{DType, Tensor};

/// Numbers on the host, with the width of their rows.
pub(crate) struct HostRows {
    pub(crate) values: Vec<f32>,
    pub(crate) width: usize,
}

impl HostRows {
    pub(crate) fn of(tensor: &Tensor<2>) -> Self {
        let [_, width] = tensor.dims();
        let data = tensor.clone().cast(DType::F32).into_data();
        let values = data.try_into_vec().expect("f32, by the cast");
        Self { values, width: width.max(1) }
    }

    pub(crate) fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..][..self.width]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.width)
    }
}
