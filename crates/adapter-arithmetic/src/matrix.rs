use burn::tensor::TensorData;

/// A matrix on the host, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    values: Vec<f32>,
}

impl Matrix {
    pub(crate) fn new(rows: usize, cols: usize, values: Vec<f32>) -> Self {
        debug_assert_eq!(values.len(), rows * cols);
        Self { rows, cols, values }
    }

    pub(crate) fn zeros(rows: usize, cols: usize) -> Self {
        Self::new(rows, cols, vec![0.0; rows * cols])
    }

    /// The matrices of a stack `[N, rows, cols]`, or the one of `[rows, cols]`; `None` for other
    /// shapes.
    pub(crate) fn unstack(data: &TensorData) -> Option<Vec<Self>> {
        let (rows, cols) = match data.shape().as_slice() {
            [rows, cols] | [_, rows, cols] => (*rows, *cols),
            _ => return None,
        };
        let values: Vec<f32> = data.iter::<f32>().collect();
        let parts = values.chunks_exact((rows * cols).max(1));
        Some(parts.map(|part| Self::new(rows, cols, part.to_vec())).collect())
    }

    /// `[N, rows, cols]`; without the first dimension where it is 1.
    pub(crate) fn stack(matrices: Vec<Self>) -> TensorData {
        let (rows, cols) = matrices.first().map_or((0, 0), |first| (first.rows, first.cols));
        let mut shape = vec![rows, cols];
        if matrices.len() > 1 {
            shape.insert(0, matrices.len());
        }
        let values = matrices.into_iter().flat_map(|matrix| matrix.values).collect::<Vec<f32>>();
        TensorData::new(values, shape)
    }

    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        if factor != 1.0 {
            self.values.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
        self
    }

    /// The sum with another of the same shape.
    pub(crate) fn plus(mut self, other: &Self) -> Self {
        self.values.iter_mut().zip(&other.values).for_each(|(value, more)| *value += more);
        self
    }

    /// Row `r` times `factors[r]`.
    pub(crate) fn scale_rows(mut self, factors: &[f32]) -> Self {
        let rows = self.values.chunks_exact_mut(self.cols.max(1));
        rows.zip(factors).for_each(|(row, factor)| row.iter_mut().for_each(|v| *v *= factor));
        self
    }

    /// Column `c` times `factors[c]`.
    pub(crate) fn scale_cols(mut self, factors: &[f32]) -> Self {
        for row in self.values.chunks_exact_mut(self.cols.max(1)) {
            row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
        }
        self
    }

    /// One below the other.
    pub(crate) fn below(matrices: &[Self]) -> Self {
        let cols = matrices.first().map_or(0, |matrix| matrix.cols);
        let rows = matrices.iter().map(|matrix| matrix.rows).sum();
        Self::new(rows, cols, matrices.iter().flat_map(|m| m.values.iter().copied()).collect())
    }

    /// One beside the other.
    pub(crate) fn beside(matrices: &[Self]) -> Self {
        let rows = matrices.first().map_or(0, |matrix| matrix.rows);
        let cols = matrices.iter().map(|matrix| matrix.cols).sum();
        let row = |r: usize| {
            matrices
                .iter()
                .flat_map(move |m| m.values[r * m.cols..(r + 1) * m.cols].iter().copied())
        };
        Self::new(rows, cols, (0..rows).flat_map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_where_they_belong() {
        let a = Matrix::new(2, 1, vec![1.0, 2.0]);
        let b = Matrix::new(2, 2, vec![3.0, 4.0, 5.0, 6.0]);
        let beside = Matrix::beside(&[a.clone(), b.clone()]);
        assert_eq!(beside, Matrix::new(2, 3, vec![1.0, 3.0, 4.0, 2.0, 5.0, 6.0]));
        let below = Matrix::below(&[b.clone(), b.clone().scaled(2.0)]);
        assert_eq!(below, Matrix::new(4, 2, vec![3.0, 4.0, 5.0, 6.0, 6.0, 8.0, 10.0, 12.0]));
        assert_eq!(b.clone().scale_rows(&[1.0, 0.0]), Matrix::new(2, 2, vec![3.0, 4.0, 0.0, 0.0]));
        assert_eq!(b.clone().scale_cols(&[1.0, 0.0]), Matrix::new(2, 2, vec![3.0, 0.0, 5.0, 0.0]));
        let stacked = Matrix::stack(vec![b.clone(), b.clone()]);
        assert_eq!(stacked.shape().as_slice(), [2, 2, 2]);
        assert_eq!(Matrix::unstack(&stacked), Some(vec![b.clone(), b]));
    }
}
