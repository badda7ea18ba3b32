use std::sync::Arc;

#[cfg(device_kernels)]
use burn::tensor::DType;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

use crate::sent;

/// Where rows hold several sequences one after the other (packing), the first position of the
/// sequence that each position belongs to. Attention sees nothing before it.
#[derive(Debug, Clone)]
pub struct Documents {
    /// `[B, S]`, row-major.
    starts: Arc<[u32]>,
    seq_len: usize,
}

impl Documents {
    /// The sequences of each row by their lengths; what is left of a row of `seq_len` positions is
    /// padding, and a sequence of its own. Lengths beyond the row are cut.
    pub fn new(rows: &[Vec<usize>], seq_len: usize) -> Self {
        let mut starts = Vec::with_capacity(rows.len() * seq_len);
        for (row, lengths) in rows.iter().enumerate() {
            let end = (row + 1) * seq_len;
            for length in lengths.iter().chain([&seq_len]) {
                let start = starts.len();
                let first = (start - row * seq_len) as u32;
                starts.resize((start + length).min(end), first);
            }
        }
        Self { starts: starts.into(), seq_len }
    }

    /// The number of rows and of positions of each.
    pub fn dims(&self) -> [usize; 2] {
        [self.starts.len() / self.seq_len.max(1), self.seq_len]
    }

    /// The first position of the sequence of a position.
    pub fn start(&self, row: usize, position: usize) -> usize {
        self.starts[row * self.seq_len + position] as usize
    }

    /// The place of each position in its sequence, from 0, row by row.
    pub fn places(&self) -> Vec<usize> {
        let at = (0..self.seq_len).cycle();
        self.starts.iter().zip(at).map(|(start, at)| at - *start as usize).collect()
    }

    /// The first position of the sequence of each position, `[B, S]`, on a device.
    #[cfg(device_kernels)]
    pub(crate) fn starts_on(&self, device: &Device) -> Tensor<2> {
        let starts: Vec<f32> = self.starts.iter().map(|start| *start as f32).collect();
        Tensor::from_data(sent(TensorData::new(starts, self.dims())), (device, DType::F32))
    }

    /// Which keys are before the sequence of a query, `[B, 1, S, S]`.
    pub(crate) fn hidden(&self, device: &Device) -> Tensor<4, Bool> {
        let [rows, seq_len] = self.dims();
        let starts: Vec<i32> = self.starts.iter().map(|start| *start as i32).collect();
        let starts = TensorData::new(starts, [rows, 1, seq_len, 1]);
        let starts = Tensor::<4, Int>::from_data(sent(starts), device);
        let keys = Tensor::<1, Int>::arange(0..seq_len as i64, device).cast(starts.dtype());
        keys.reshape([1, 1, 1, seq_len]).lower(starts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_the_start_of_their_sequence() {
        let documents = Documents::new(&[vec![2, 3], vec![4], vec![]], 6);
        assert_eq!(documents.dims(), [3, 6]);
        let places = [0, 1, 0, 1, 2, 0, 0, 1, 2, 3, 0, 1, 0, 1, 2, 3, 4, 5];
        assert_eq!(documents.places(), places);
        assert_eq!(
            (documents.start(0, 4), documents.start(1, 3), documents.start(1, 5)),
            (2, 0, 4)
        );
    }

    #[test]
    fn sequences_beyond_the_row_are_cut() {
        assert_eq!(Documents::new(&[vec![2, 9]], 4).places(), [0, 1, 0, 1]);
    }
}
