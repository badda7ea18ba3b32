use data::{
    DataError, DataFile, EncodeConfig, EncodeReport, Encoded, Mixture, Record, Sample, encode_rows,
    pack, read_records, split,
};
use model_zoo::TextTokenizer;

use super::{DataConfig, RunConfig};
use crate::train::TrainError;

/// The samples of a run.
pub(super) struct RunSamples {
    pub(super) train: Vec<Sample>,
    pub(super) validation: Vec<Sample>,
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
        let (Encoded { samples: mut train, report, .. }, mut ends) =
            load_sets(&data.train, data, max_length, tokenizer)?;
        if train.is_empty() {
            return Err(DataError::NoTargets { report }.into());
        }
        let validation = if !data.validation.is_empty() {
            load_samples(&data.validation, data, max_length, tokenizer)?.0
        } else if let Some(hold_out) = data.validation_split {
            let numbered = train.into_iter().enumerate().collect();
            let (kept, held_out) = split(numbered, hold_out, training.seed)?;
            for end in &mut ends {
                *end = kept.partition_point(|(at, _)| at < end);
            }
            train = kept.into_iter().map(|(_, sample)| sample).collect();
            held_out.into_iter().map(|(_, sample)| sample).collect()
        } else {
            Vec::new()
        };
        let mixture = mixture(data, &ends)?;
        if training.packing {
            if mixture.is_some() {
                let allowed = "false with `data.train.weight` or `data.mixing_temperature`";
                return Err(TrainError::value("training.packing", true, allowed));
            }
            train = pack(&train, max_length);
        }
        Ok(Self { train, validation, mixture, report })
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

/// As [`load_rows`] without the records, and where the samples of each file end.
fn load_sets(
    files: &[DataFile],
    data: &DataConfig,
    max_length: usize,
    tokenizer: &TextTokenizer,
) -> Result<(Encoded, Vec<usize>), TrainError> {
    let mut records = Vec::new();
    let mut ends = Vec::with_capacity(files.len());
    for file in files {
        records.extend(read_records(std::slice::from_ref(file))?);
        ends.push(records.len());
    }
    let encoded = encode_rows(&records, tokenizer, &encoding(data, max_length))?;
    for end in &mut ends {
        *end = encoded.rows.partition_point(|row| row < end);
    }
    Ok((encoded, ends))
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
