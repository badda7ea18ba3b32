use super::{
    DataError, EncodeConfig, EncodeReport, Record, Sample, TextEncoder, encode::encode_record,
    segments::Segments,
};

/// Encodes records one after another, as [`encode_rows`](super::encode_rows) does all at once.
pub(super) struct RowEncoder<'a> {
    encoder: &'a dyn TextEncoder,
    config: &'a EncodeConfig,
    report: EncodeReport,
    /// The places of the first record with a task type and of the first without.
    typed: [Option<String>; 2],
}

/// What a record became.
pub(super) struct EncodedRow {
    /// The samples kept.
    pub samples: Vec<Sample>,
    /// Whether one was cut.
    pub cut: bool,
}

impl<'a> RowEncoder<'a> {
    /// # Errors
    /// Those of [`EncodeConfig::check`].
    pub fn new(encoder: &'a dyn TextEncoder, config: &'a EncodeConfig) -> Result<Self, DataError> {
        config.check()?;
        Ok(Self { encoder, config, report: EncodeReport::default(), typed: [None, None] })
    }

    /// Encodes the next record.
    ///
    /// # Errors
    /// As [`encode_rows`](super::encode_rows).
    pub fn encode(&mut self, record: &Record) -> Result<EncodedRow, DataError> {
        self.check_type(record)?;
        let encoded = encode_record(record, self.encoder, self.config)?;
        Ok(self.take(record, encoded))
    }

    /// Takes notice of the task type of the next record.
    ///
    /// # Errors
    /// [`DataError::MixedTaskTypes`] where it has one and a record before it has none, or the other
    /// way round.
    pub fn check_type(&mut self, record: &Record) -> Result<(), DataError> {
        let seen = &mut self.typed[usize::from(record.task_type.is_none())];
        if seen.is_none() {
            *seen = Some(record.origin.to_string());
        }
        if let [Some(with), Some(without)] = &self.typed {
            let (with, without) = (with.clone(), without.clone());
            return Err(DataError::MixedTaskTypes { with, without });
        }
        Ok(())
    }

    /// Cuts and counts what the next record was encoded to.
    pub fn take(&mut self, record: &Record, encoded: Vec<Segments>) -> EncodedRow {
        let mut row = EncodedRow { samples: Vec::with_capacity(encoded.len()), cut: false };
        let (config, report) = (self.config, &mut self.report);
        if encoded.is_empty() {
            report.dropped_without_target += 1;
        }
        for Segments { mut ids, mut mask, splits } in encoded {
            report.boundary_splits += splits;
            if ids.len() > config.max_length {
                report.truncated += 1;
                row.cut = true;
                ids.truncate(config.max_length);
                mask.truncate(config.max_length);
            }
            if config.train_on_prompt {
                mask.fill(true);
            }
            if let Some(first) = mask.first_mut() {
                *first = false;
            }
            let task_type = record.task_type;
            let sample =
                Sample { input_ids: ids, target_mask: mask, task_type, ..Sample::default() };
            let targets = sample.target_count();
            if targets == 0 {
                report.dropped_without_target += 1;
                continue;
            }
            report.samples += 1;
            report.tokens += sample.len();
            report.target_tokens += targets;
            row.samples.push(sample);
        }
        row
    }

    /// What became of the records so far.
    pub fn report(&self) -> EncodeReport {
        self.report
    }
}
