use std::io::Read;

use super::Sample;

/// The bytes of an entry on disk.
pub(super) const ENTRY: usize = 20;

/// Stands for no task type, which none has: types are small.
const NO_TYPE: u32 = u32::MAX;

/// Where a sample is, and what of it is asked for often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Its first byte.
    pub begin: u64,
    pub tokens: u32,
    pub targets: u32,
    pub task_type: Option<u32>,
}

impl Entry {
    /// The entry of a sample that is written at a place; `None` where it is too large for one.
    pub fn of(sample: &Sample, begin: u64) -> Option<Self> {
        Some(Self {
            begin,
            tokens: sample.len().try_into().ok()?,
            targets: sample.target_count().try_into().ok()?,
            task_type: sample.task_type.filter(|of| *of != NO_TYPE),
        })
    }

    /// How many bytes the sample has.
    pub fn size(&self) -> usize {
        let tokens = self.tokens as usize;
        4 * tokens + tokens.div_ceil(8)
    }

    pub fn to_bytes(self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..8].copy_from_slice(&self.begin.to_le_bytes());
        let numbers = [self.tokens, self.targets, self.task_type.unwrap_or(NO_TYPE)];
        for (place, number) in bytes[8..].chunks_exact_mut(4).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY]) -> Self {
        let (begin, rest) = bytes.split_at(8);
        let mut begins = [0; 8];
        begins.copy_from_slice(begin);
        let mut numbers = rest.as_chunks().0.iter().map(|number| u32::from_le_bytes(*number));
        let mut next = || numbers.next().unwrap_or_default();
        Self {
            begin: u64::from_le_bytes(begins),
            tokens: next(),
            targets: next(),
            task_type: Some(next()).filter(|of| *of != NO_TYPE),
        }
    }
}

/// Reads the entries of so many samples that together have so many bytes.
pub(super) fn read_index(
    mut file: impl Read,
    samples: usize,
    bytes: u64,
) -> Result<Vec<Entry>, String> {
    let mut all = Vec::new();
    file.read_to_end(&mut all).map_err(|error| error.to_string())?;
    let (entries, rest) = all.as_chunks::<ENTRY>();
    if entries.len() != samples || !rest.is_empty() {
        return Err(format!("{} bytes where {samples} samples have {ENTRY} each", all.len()));
    }
    let mut end = 0;
    let mut index = Vec::with_capacity(samples);
    for entry in entries {
        let entry = Entry::from_bytes(entry);
        if entry.begin != end {
            return Err(format!(
                "a sample begins at {} where the last one ends at {end}",
                entry.begin
            ));
        }
        end += entry.size() as u64;
        index.push(entry);
    }
    match end == bytes {
        true => Ok(index),
        false => Err(format!("the samples end at {end}, their file at {bytes}")),
    }
}
