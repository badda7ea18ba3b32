use std::sync::Arc;

use data::{
    DataError, DataFile, EncodeConfig, EncodeReport, Encoded, Mixture, Record, Sample, SampleStore,
    Samples, encode_rows, read_records, split,
};
use model_zoo::TextTokenizer;

use super::{DataConfig, RunConfig, cache::cached};
use crate::train::TrainError;

/// The samples of a run.
pub(super) struct RunSamples {
    pub(super) train: Samples,
    pub(super) validation: Samples,
    /// How often samples are drawn, where an epoch does not have every one once.
    pub(super) mixture: Option<Mixture>,
    /// What became of the training records.
    pub(super) report: EncodeReport,
}

impl RunSamples {
    pub(super) fn read(
        run: &RunConfig,
        max_length: usize,
        tokenizer: &TextTokenizer,
        progress: &dyn Fn(usize),
    ) -> Result<Self, TrainError> {
        let (data, training) = (&run.data, &run.training);
        if let Some(file) = data.validation.iter().find(|file| file.weight.is_some()) {
            let found = file.weight.unwrap_or_default();
            return Err(TrainError::value(
                "data.validation.weight",
                found,
                "none: all is measured",
            ));
        }
        let load = |files: &[DataFile]| load_sets(files, data, max_length, tokenizer, progress);
        let Loaded { samples, mut ends, report } = load(&data.train)?;
        let (mut train, validation) = if !data.validation.is_empty() {
            (samples.all(), load(&data.validation)?.samples.all())
        } else if let Some(hold_out) = data.validation_split {
            let places = (0..samples.len()).collect();
            let (kept, held_out) = split(places, hold_out, training.seed)?;
            for end in &mut ends {
                *end = kept.partition_point(|at| at < end);
            }
            samples.divide(kept, held_out)
        } else {
            (samples.all(), Samples::none())
        };
        let mixture = mixture(data, &ends)?;
        if training.packing {
            if mixture.is_some() {
                let allowed = "false with `data.train.weight` or `data.mixing_temperature`";
                return Err(TrainError::value("training.packing", true, allowed));
            }
            train = train.packed(max_length);
        }
        Ok(Self { train, validation, mixture, report })
    }
}

/// The samples of several files.
struct Loaded {
    samples: Source,
    /// Where the samples of each file end.
    ends: Vec<usize>,
    report: EncodeReport,
}

/// Where samples are.
enum Source {
    Memory(Vec<Sample>),
    Disk(SampleStore),
}

impl Source {
    fn len(&self) -> usize {
        match self {
            Self::Memory(samples) => samples.len(),
            Self::Disk(store) => store.len(),
        }
    }

    fn all(self) -> Samples {
        match self {
            Self::Memory(samples) => samples.into(),
            Self::Disk(store) => {
                let places = (0..store.len()).collect();
                Samples::stored(Arc::new(store), places)
            }
        }
    }

    /// Those at some places, and the others.
    fn divide(self, kept: Vec<usize>, others: Vec<usize>) -> (Samples, Samples) {
        match self {
            Self::Memory(samples) => {
                let mut kept = kept.into_iter().peekable();
                let (mut of_kept, mut of_others) = (Vec::new(), Vec::new());
                for (at, sample) in samples.into_iter().enumerate() {
                    match kept.next_if_eq(&at) {
                        Some(_) => of_kept.push(sample),
                        None => of_others.push(sample),
                    }
                }
                (of_kept.into(), of_others.into())
            }
            Self::Disk(store) => {
                let store = Arc::new(store);
                (Samples::stored(store.clone(), kept), Samples::stored(store, others))
            }
        }
    }
}

/// The mixture of the sets that end at these samples; none where every sample is drawn once.
fn mixture(data: &DataConfig, ends: &[usize]) -> Result<Option<Mixture>, TrainError> {
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let sizes: Vec<usize> = ends.iter().zip(begins).map(|(end, begin)| end - begin).collect();
    let weights: Vec<f64> = data.train.iter().map(|file| file.weight.unwrap_or(1.0)).collect();
    let mixture = Mixture::new(&sizes, &weights, data.mixing_temperature)?;
    Ok((!mixture.is_plain()).then_some(mixture))
}

/// Reads files and encodes their records.
///
/// # Errors
///
/// [`TrainError`] naming the file and record at fault.
pub fn load_samples(
    files: &[DataFile],
    data: &DataConfig,
    max_length: usize,
    tokenizer: &TextTokenizer,
) -> Result<(Vec<Sample>, EncodeReport), TrainError> {
    let (_, Encoded { samples, report, .. }) = load_rows(files, data, max_length, tokenizer)?;
    match samples.is_empty() {
        true => Err(DataError::NoTargets { report }.into()),
        false => Ok((samples, report)),
    }
}

/// As [`load_samples`], with the records, and what became of each of them; there may be no sample
/// left.
///
/// # Errors
///
/// [`TrainError`] naming the file and record at fault.
pub fn load_rows(
    files: &[DataFile],
    data: &DataConfig,
    max_length: usize,
    tokenizer: &TextTokenizer,
) -> Result<(Vec<Record>, Encoded), TrainError> {
    let records = read_records(files)?;
    let encoded = encode_rows(&records, tokenizer, &encoding(data, max_length))?;
    Ok((records, encoded))
}

/// The samples of files, of which there must be some.
fn load_sets(
    files: &[DataFile],
    data: &DataConfig,
    max_length: usize,
    tokenizer: &TextTokenizer,
    progress: &dyn Fn(usize),
) -> Result<Loaded, TrainError> {
    let config = encoding(data, max_length);
    let loaded = match &data.cache_dir {
        Some(folder) => {
            let store = cached(folder, files, tokenizer, &config, progress)?;
            let (ends, report) = (store.info().ends.clone(), store.info().report);
            Loaded { samples: Source::Disk(store), ends, report }
        }
        None if files.is_empty() => {
            return Err(DataError::NoRecords("an empty list of files".into()).into());
        }
        None => {
            let mut records = Vec::new();
            let mut ends = Vec::with_capacity(files.len());
            for file in files {
                records.extend(read_records(std::slice::from_ref(file))?);
                ends.push(records.len());
            }
            let Encoded { samples, rows, report, .. } = encode_rows(&records, tokenizer, &config)?;
            for end in &mut ends {
                *end = rows.partition_point(|row| row < end);
            }
            Loaded { samples: Source::Memory(samples), ends, report }
        }
    };
    match loaded.samples.len() {
        0 => Err(DataError::NoTargets { report: loaded.report }.into()),
        _ => Ok(loaded),
    }
}

fn encoding(data: &DataConfig, max_length: usize) -> EncodeConfig {
    EncodeConfig {
        template: data.template.clone(),
        max_length,
        train_on_prompt: data.train_on_prompt,
        chat: data.chat,
        ..EncodeConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_those_of_all_files_and_each_set_ends_where_its_file_does() {
        let folder = tempfile::tempdir().unwrap();
        let json = r#"{"model": {"type": "WordLevel", "vocab": {"a": 0, "b": 1}, "unk_token": "a"},
                       "pre_tokenizer": {"type": "Whitespace"}}"#;
        std::fs::write(folder.path().join("tokenizer.json"), json).unwrap();
        let config = r#"{"eos_token": "a"}"#;
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        let tokenizer = TextTokenizer::from_folder(folder.path()).unwrap();
        let files = ["one", "two"].map(|name| {
            let path = folder.path().join(format!("{name}.jsonl"));
            std::fs::write(
                &path,
                "{\"prompt\": \"a\", \"completion\": \" b\"}\n".repeat(name.len() - 1),
            )
            .unwrap();
            DataFile::new(path)
        });
        let data = DataConfig::new(files.to_vec());
        let loaded = load_sets(&files, &data, 8, &tokenizer, &|_| {}).unwrap();
        assert_eq!((loaded.samples.len(), loaded.ends), (4, vec![2, 4]));
        let error = load_sets(&[], &data, 8, &tokenizer, &|_| {}).err().unwrap().to_string();
        assert!(error.contains("an empty list of files"), "{error}");
    }

    #[test]
    fn weights_and_a_temperature_make_a_mixture() {
        let mixed = |weights: [Option<f64>; 2], mixing_temperature: f64| {
            let file = |weight| DataFile { weight, ..DataFile::new("a.json") };
            let train = weights.map(file).into();
            let data = DataConfig { mixing_temperature, ..DataConfig::new(train) };
            mixture(&data, &[3, 10]).unwrap()
        };
        assert_eq!(mixed([None, None], 1.0), None);
        assert_eq!(mixed([None, Some(1.0)], 1.0), None);
        let expected = Mixture::new(&[3, 7], &[1.0, 2.0], 1.0).unwrap();
        assert_eq!(mixed([None, Some(2.0)], 1.0), Some(expected));
        let expected = Mixture::new(&[3, 7], &[1.0, 1.0], 2.0).unwrap();
        assert_eq!(mixed([None, None], 2.0), Some(expected));
    }
}
