//! Samples on disk: any number of them in little memory.
//!
//! A store is a folder. `samples.bin` has the token ids of each sample, four bytes each, and a bit for
//! each whether it is learned; `index.bin` has 20 bytes a sample: where it begins, its tokens, its
//! targets and its task type; `store.json` says what it was made of. All numbers are little-endian.

mod index;
mod info;
mod write;

pub use info::StoreInfo;
pub use write::store_samples;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use index::{Entry, read_index};

use super::{DataError, Sample};

const SAMPLES: &str = "samples.bin";
const INDEX: &str = "index.bin";
const INFO: &str = "store.json";

/// Samples that [`store_samples`] has put on disk. In memory are 24 bytes for each.
#[derive(Debug)]
pub struct SampleStore {
    folder: PathBuf,
    samples: Mutex<File>,
    index: Vec<Entry>,
    info: StoreInfo,
}

impl SampleStore {
    /// Opens the store in a folder; `None` where there is none.
    ///
    /// # Errors
    /// [`DataError::Store`] for a folder that is not a whole one of this version.
    pub fn open(folder: &Path) -> Result<Option<Self>, DataError> {
        if !folder.exists() {
            return Ok(None);
        }
        let wrong = |message: String| wrong(folder, message);
        let text = std::fs::read_to_string(folder.join(INFO))
            .map_err(|error| wrong(format!("{INFO}: {error}")))?;
        let info: StoreInfo =
            serde_json::from_str(&text).map_err(|error| wrong(format!("{INFO}: {error}")))?;
        let open = |name: &str| {
            File::open(folder.join(name)).map_err(|error| wrong(format!("{name}: {error}")))
        };
        let samples = open(SAMPLES)?;
        let bytes = samples.metadata().map_err(|error| wrong(format!("{SAMPLES}: {error}")))?.len();
        let index = read_index(open(INDEX)?, info.report.samples, bytes)
            .map_err(|message| wrong(format!("{INDEX}: {message}")))?;
        if info.ends.last().copied() != Some(index.len()) {
            return Err(wrong(format!("{INFO}: `ends` does not end at {} samples", index.len())));
        }
        Ok(Some(Self { folder: folder.to_owned(), samples: Mutex::new(samples), index, info }))
    }

    /// What it was made of, and what became of it.
    pub fn info(&self) -> &StoreInfo {
        &self.info
    }

    /// The number of samples.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The number of tokens of a sample; 0 of one that is not there, here and below.
    pub fn tokens(&self, at: usize) -> usize {
        self.index.get(at).map_or(0, |entry| entry.tokens as usize)
    }

    /// The number of targets of a sample.
    pub fn targets(&self, at: usize) -> usize {
        self.index.get(at).map_or(0, |entry| entry.targets as usize)
    }

    /// The task type of a sample, where it has one.
    pub fn task_type(&self, at: usize) -> Option<u32> {
        self.index.get(at)?.task_type
    }

    /// Reads a sample.
    ///
    /// # Errors
    /// [`DataError::Store`] for one that is not there or cannot be read.
    pub fn read(&self, at: usize) -> Result<Sample, DataError> {
        let entry = self.index.get(at).ok_or_else(|| {
            wrong(&self.folder, format!("sample {at} is asked for of {}", self.len()))
        })?;
        let mut bytes = vec![0; entry.size()];
        let mut read = || {
            // Whoever panicked while reading left a place that is not relied on.
            let mut file = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(entry.begin))?;
            file.read_exact(&mut bytes)
        };
        read()
            .map_err(|error: std::io::Error| wrong(&self.folder, format!("{SAMPLES}: {error}")))?;
        let (ids, bits) = bytes.split_at(4 * entry.tokens as usize);
        let learned = |at: usize| bits.get(at / 8).is_some_and(|bits| bits >> (at % 8) & 1 == 1);
        Ok(Sample {
            input_ids: ids.as_chunks().0.iter().map(|id| u32::from_le_bytes(*id)).collect(),
            target_mask: (0..entry.tokens as usize).map(learned).collect(),
            task_type: entry.task_type,
            ..Sample::default()
        })
    }
}

fn wrong(folder: &Path, message: String) -> DataError {
    DataError::Store { folder: folder.to_owned(), message }
}
