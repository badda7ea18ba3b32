use burn::tensor::Tensor;
use faer::{Mat, MatRef};

use crate::InitError;

/// A matrix on the host, in f32 and checked to be finite.
///
/// Burn keeps a weight as `[in, out]`, row-major: the same numbers in the same order are a
/// column-major `[out, in]`, so no transposed copy is made.
pub(crate) struct HostMatrix {
    pub values: Vec<f32>,
    /// `[rows, columns]` of the tensor.
    pub shape: [usize; 2],
}

impl HostMatrix {
    /// Reads a tensor; `name` is what errors call it.
    pub fn read(tensor: &Tensor<2>, name: &'static str) -> Result<Self, InitError> {
        let unreadable = |problem: String| InitError::Unreadable { matrix: name, problem };
        let data = tensor.clone().into_data().convert::<f32>();
        let values = data.try_into_vec::<f32>().map_err(|error| unreadable(error.to_string()))?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(InitError::NotFinite { matrix: name });
        }
        Ok(Self { values, shape: tensor.dims() })
    }

    /// The transposed matrix: of a weight `[in, out]`, the `[out, in]` of papers.
    pub fn transposed(&self) -> MatRef<'_, f32> {
        let [rows, columns] = self.shape;
        MatRef::from_column_major_slice(&self.values, columns, rows)
    }
}

/// The columns of a matrix, one after the other, in f32.
pub(crate) fn columns(matrix: &Mat<f64>) -> Vec<f32> {
    matrix.col_iter().flat_map(|column| column.iter().map(|value| *value as f32)).collect()
}
