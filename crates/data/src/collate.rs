use super::{Batch, DataError, Sample};

/// Puts samples side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collator {
    /// Token id that fills the padding; any valid id will do, since padding is masked.
    pub pad_id: u32,
    /// The sequence length is rounded up to a multiple of this (0 and 1: not at all), so that a
    /// device which tunes itself to shapes sees fewer of them.
    pub pad_to_multiple_of: usize,
}

impl Collator {
    /// Pads to the longest sample of each batch.
    pub fn new(pad_id: u32) -> Self {
        Self { pad_id, pad_to_multiple_of: 1 }
    }

    /// A batch of `samples`, padded on the right.
    ///
    /// # Errors
    /// [`DataError::NoRecords`] without samples, [`DataError::Sample`] for one without tokens or
    /// with a mask of another length, [`DataError::MixedTaskTypes`] when only some have a task
    /// type, and [`DataError::Sample`] when the whole batch has no target.
    pub fn collate(&self, samples: &[&Sample]) -> Result<Batch, DataError> {
        if samples.is_empty() {
            return Err(DataError::NoRecords("an empty batch".into()));
        }
        for (index, sample) in samples.iter().enumerate() {
            check(index, sample)?;
        }
        let task_types = task_types(samples)?;
        let longest = samples.iter().map(|sample| sample.len()).max().unwrap_or(0);
        let seq_len = longest.next_multiple_of(self.pad_to_multiple_of.max(1));
        let positions = samples.len() * seq_len;
        let mut input_ids = Vec::with_capacity(positions);
        let mut target_mask = Vec::with_capacity(positions);
        for (row, sample) in samples.iter().enumerate() {
            input_ids.extend(sample.input_ids.iter().map(|&id| i64::from(id)));
            input_ids.resize((row + 1) * seq_len, i64::from(self.pad_id));
            target_mask.push(false);
            target_mask.extend_from_slice(&sample.target_mask[1..]);
            target_mask.resize((row + 1) * seq_len, false);
        }
        let batch = Batch {
            input_ids,
            lengths: samples.iter().map(|sample| sample.len()).collect(),
            documents: match samples.iter().any(|sample| sample.documents.len() > 1) {
                true => samples.iter().map(|sample| sample.lengths().collect()).collect(),
                false => Vec::new(),
            },
            target_mask,
            task_types,
            batch_size: samples.len(),
            seq_len,
        };
        if batch.target_count() == 0 {
            return Err(DataError::Sample {
                index: 0,
                found: "has no target, nor has any other".into(),
                allowed: "at least one target in a batch",
            });
        }
        Ok(batch)
    }

    /// A batch of the samples at `indices`, as [`BatchPlan::batches`](super::BatchPlan::batches)
    /// gives them.
    ///
    /// # Errors
    /// As [`Self::collate`], and [`DataError::Sample`] for an index beyond the samples.
    pub fn collate_indices(
        &self,
        samples: &[Sample],
        indices: &[usize],
    ) -> Result<Batch, DataError> {
        let chosen = indices
            .iter()
            .enumerate()
            .map(|(at, &index)| {
                samples.get(index).ok_or_else(|| DataError::Sample {
                    index: at,
                    found: format!("is number {index} of {} samples", samples.len()),
                    allowed: "an index below the number of samples",
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.collate(&chosen)
    }
}

fn check(index: usize, sample: &Sample) -> Result<(), DataError> {
    let of_documents: usize = sample.lengths().sum();
    if of_documents != sample.len() {
        return Err(DataError::Sample {
            index,
            found: format!("has {} tokens, and {of_documents} in its documents", sample.len()),
            allowed: "as many in both",
        });
    }
    if !sample.is_empty() && sample.len() == sample.target_mask.len() {
        return Ok(());
    }
    Err(DataError::Sample {
        index,
        found: format!("has {} tokens and a mask of {}", sample.len(), sample.target_mask.len()),
        allowed: "at least one token, and a mask of the same length",
    })
}

fn task_types(samples: &[&Sample]) -> Result<Option<Vec<i64>>, DataError> {
    let known: Vec<i64> =
        samples.iter().filter_map(|sample| sample.task_type).map(i64::from).collect();
    if known.is_empty() {
        return Ok(None);
    }
    if known.len() == samples.len() {
        return Ok(Some(known));
    }
    let at = |wanted: bool| {
        let index = samples.iter().position(|sample| sample.task_type.is_some() == wanted);
        format!("sample {} of the batch", index.unwrap_or(0))
    };
    Err(DataError::MixedTaskTypes { with: at(true), without: at(false) })
}
