use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use serde_json::Value;

use super::super::{
    DataError, DataFile, EncodeConfig, Record, Sample, TextEncoder,
    encode::encode_record,
    read::each_record,
    row_encoder::{EncodedRow, RowEncoder},
};
use super::{INDEX, INFO, SAMPLES, SampleStore, StoreInfo, index::Entry, wrong};

/// The records that are encoded at once.
const AT_ONCE: usize = 256;

/// Reads and encodes data files into a store in `folder`, which must not be there yet, and opens it.
/// `made_of` is kept with it, and `progress` is told how many records are done.
///
/// Records are read one after another and encoded by all threads, some at once; what is in memory
/// does not grow with the files, unless their form has to be read as a whole
/// ([`record_files::open_rows`]). The store appears when it is complete; of several processes that
/// make the same one, the first to end wins. The samples are those of
/// [`encode_rows`](super::super::encode_rows), in the same order.
///
/// # Errors
/// As [`read_records`](super::super::read_records) and [`encode_rows`](super::super::encode_rows),
/// and [`DataError::Store`] where the folder cannot be written.
pub fn store_samples(
    folder: &Path,
    files: &[DataFile],
    encoder: &(dyn TextEncoder + Sync),
    config: &EncodeConfig,
    made_of: Value,
    progress: &dyn Fn(usize),
) -> Result<SampleStore, DataError> {
    if files.is_empty() {
        return Err(DataError::NoRecords("an empty list of files".into()));
    }
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let unfinished = folder.with_file_name(format!("{name}.unfinished-{}", std::process::id()));
    let io = |error: io::Error| wrong(&unfinished, error.to_string());
    fs::create_dir_all(&unfinished).map_err(io)?;
    let removed = Removed(&unfinished);
    let mut writer = Writer::new(&unfinished, RowEncoder::new(encoder, config)?)?;
    let mut waiting = Vec::with_capacity(AT_ONCE);
    let mut ends = Vec::with_capacity(files.len());
    for file in files {
        each_record(file, &mut |record| {
            waiting.push(record);
            match waiting.len() == AT_ONCE {
                true => writer.write(&mut waiting, encoder, config, progress),
                false => Ok(()),
            }
        })?;
        writer.write(&mut waiting, encoder, config, progress)?;
        ends.push(writer.rows.report().samples);
    }
    let info = StoreInfo { made_of, report: writer.rows.report(), rows: writer.done, ends };
    let text = serde_json::to_string_pretty(&info).map_err(|error| io(error.into()))?;
    for file in [writer.samples, writer.index] {
        let file = file.into_inner().map_err(|error| io(error.into_error()))?;
        file.sync_all().map_err(io)?;
    }
    fs::write(unfinished.join(INFO), text).map_err(io)?;
    if fs::rename(&unfinished, folder).is_err() && !folder.join(INFO).is_file() {
        return Err(wrong(folder, "cannot be put in its place".into()));
    }
    drop(removed);
    SampleStore::open(folder)?.ok_or_else(|| wrong(folder, "is gone again".into()))
}

/// A folder that goes when this does, where it is still there.
struct Removed<'a>(&'a Path);

impl Drop for Removed<'_> {
    fn drop(&mut self) {
        // Nothing is to be done about a folder that cannot be removed.
        let _ = fs::remove_dir_all(self.0);
    }
}

struct Writer<'a> {
    folder: PathBuf,
    samples: BufWriter<File>,
    index: BufWriter<File>,
    rows: RowEncoder<'a>,
    /// The bytes of the samples so far.
    end: u64,
    /// The records so far.
    done: usize,
}

impl<'a> Writer<'a> {
    fn new(folder: &Path, rows: RowEncoder<'a>) -> Result<Self, DataError> {
        let create = |name: &str| {
            let file = File::create(folder.join(name));
            file.map(BufWriter::new).map_err(|error| wrong(folder, format!("{name}: {error}")))
        };
        let (samples, index) = (create(SAMPLES)?, create(INDEX)?);
        Ok(Self { folder: folder.to_owned(), samples, index, rows, end: 0, done: 0 })
    }

    /// Encodes the records that wait, and writes their samples.
    fn write(
        &mut self,
        waiting: &mut Vec<Record>,
        encoder: &(dyn TextEncoder + Sync),
        config: &EncodeConfig,
        progress: &dyn Fn(usize),
    ) -> Result<(), DataError> {
        let encoded: Vec<_> =
            waiting.par_iter().map(|record| encode_record(record, encoder, config)).collect();
        for (record, encoded) in waiting.drain(..).zip(encoded) {
            self.rows.check_type(&record)?;
            let EncodedRow { samples, .. } = self.rows.take(&record, encoded?);
            for sample in &samples {
                self.push(sample)?;
            }
            self.done += 1;
        }
        progress(self.done);
        Ok(())
    }

    fn push(&mut self, sample: &Sample) -> Result<(), DataError> {
        let entry = Entry::of(sample, self.end)
            .ok_or_else(|| wrong(&self.folder, format!("a sample of {} tokens", sample.len())))?;
        let mut bytes = Vec::with_capacity(entry.size());
        bytes.extend(sample.input_ids.iter().flat_map(|id| id.to_le_bytes()));
        bytes.extend(sample.target_mask.chunks(8).map(|bits| {
            bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | u8::from(*bit) << at)
        }));
        self.end += bytes.len() as u64;
        self.samples
            .write_all(&bytes)
            .and_then(|()| self.index.write_all(&entry.to_bytes()))
            .map_err(|error| wrong(&self.folder, error.to_string()))
    }
}
