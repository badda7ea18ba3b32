use burn::tensor::{Device, Tensor, TensorData};
use fused_ops::sent;
use model_zoo::Documents;

use super::{DeviceBatch, Targets};

/// Samples side by side on the host, padded on the right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, row-major `[B, S]`.
    pub input_ids: Vec<i64>,
    /// Tokens of each sample `[B]`; the rest of its row is padding.
    pub lengths: Vec<usize>,
    /// The tokens of each sample in each row, where any row holds several (packing); else empty.
    pub documents: Vec<Vec<usize>>,
    /// Row-major `[B, S]`, true where the token is to be predicted; never at position 0 or padding.
    pub target_mask: Vec<bool>,
    /// Task type of each sample `[B]`; `None` when the samples have none.
    pub task_types: Option<Vec<i64>>,
    /// Number of samples `B`.
    pub batch_size: usize,
    /// Number of positions `S`.
    pub seq_len: usize,
}

impl Batch {
    /// Whether any position is padding.
    pub fn has_padding(&self) -> bool {
        self.token_count() < self.batch_size * self.seq_len
    }

    /// Number of tokens, without padding.
    pub fn token_count(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// Number of targets `T`.
    pub fn target_count(&self) -> usize {
        self.target_mask.iter().filter(|&&target| target).count()
    }

    /// What to predict from where: position `t` predicts the token at `t + 1`, if that is a target.
    pub fn targets(&self) -> Targets {
        let mut targets = Targets::default();
        for (at, &is_target) in self.target_mask.iter().enumerate() {
            // Position 0 has nothing before it in its own row.
            if is_target && at % self.seq_len != 0 {
                targets.positions.push(at as i64 - 1);
                targets.token_ids.push(self.input_ids[at]);
            }
        }
        targets
    }

    /// Copies the batch to a device.
    pub fn to_device(&self, device: &Device) -> DeviceBatch {
        let shape = [self.batch_size, self.seq_len];
        let ints = |values: &[i64]| {
            Tensor::from_data(sent(TensorData::new(values.to_vec(), [values.len()])), device)
        };
        let token_mask = self.has_padding().then(|| {
            let mask: Vec<bool> = self
                .lengths
                .iter()
                .flat_map(|&length| (0..self.seq_len).map(move |at| at < length))
                .collect();
            Tensor::from_data(sent(TensorData::new(mask, shape)), device)
        });
        let targets = self.targets();
        DeviceBatch {
            token_count: self.token_count(),
            input_ids: Tensor::from_data(
                sent(TensorData::new(self.input_ids.clone(), shape)),
                device,
            ),
            token_mask,
            documents: (!self.documents.is_empty())
                .then(|| Documents::new(&self.documents, self.seq_len)),
            task_types: self.task_types.as_deref().map(ints),
            target_positions: ints(&targets.positions),
            target_ids: ints(&targets.token_ids),
            targets,
        }
    }
}
