use std::path::PathBuf;

use model_zoo::TextTokenizer;

use super::{DataGroundConfig, DataMeasures};
use crate::StudyError;
use data::{EncodeConfig, Record, Sample, encode_prompt, encode_records};

/// What a model is measured on.
#[derive(Clone)]
pub(super) struct Sets {
    pub(super) tasks: Set,
    pub(super) knowledge: Set,
    /// Empty where the loss is measured on the answers of `knowledge`.
    pub(super) text: Vec<Sample>,
}

#[derive(Clone)]
pub(super) struct Set {
    pub(super) records: Vec<Record>,
    pub(super) samples: Vec<Sample>,
}

/// Cuts what is measured on into a half for the search and one for the report.
pub(super) struct Cut<'a> {
    pub(super) searched: bool,
    pub(super) tokenizer: &'a TextTokenizer,
    pub(super) encoding: &'a EncodeConfig,
}

impl Cut<'_> {
    pub(super) fn sets(&self, key: &str, records: Vec<Record>) -> Result<(Set, Set), StudyError> {
        let (validation, test) = self.halves(key, records)?;
        let set = |records: Vec<Record>| -> Result<Set, StudyError> {
            let samples = match records.is_empty() {
                true => Vec::new(),
                false => encode_records(&records, self.tokenizer, self.encoding)?.0,
            };
            Ok(Set { records, samples })
        };
        Ok((set(validation)?, set(test)?))
    }

    pub(super) fn halves<T>(
        &self,
        key: &str,
        items: Vec<T>,
    ) -> Result<(Vec<T>, Vec<T>), StudyError> {
        if !self.searched {
            return Ok((Vec::new(), items));
        }
        if items.len() == 1 {
            let allowed = "at least 2: one half is for the search of learning rates";
            return Err(StudyError::value(key, "1 item", allowed));
        }
        let (mut even, mut odd) = (Vec::new(), Vec::new());
        for (at, item) in items.into_iter().enumerate() {
            if at % 2 == 0 { even.push(item) } else { odd.push(item) }
        }
        Ok((even, odd))
    }
}

/// Generation must not run out of positions.
pub(super) fn check_room(
    set: &Set,
    tokenizer: &TextTokenizer,
    config: &DataGroundConfig,
    positions: usize,
) -> Result<(), StudyError> {
    let DataMeasures { exact_match_samples, max_new_tokens, .. } = &config.measures;
    let (exact_match_samples, max_new_tokens) = (*exact_match_samples, *max_new_tokens);
    for record in set.records.iter().take(exact_match_samples) {
        let prompt = encode_prompt(record, tokenizer, &config.data.template)?.len();
        if prompt + max_new_tokens > positions {
            let origin = &record.origin;
            let allowed = format!(
                "at most {}: the prompt of {origin} has {prompt} tokens and the model {positions} positions",
                positions.saturating_sub(prompt)
            );
            return Err(StudyError::value("data.max_new_tokens", max_new_tokens, allowed));
        }
    }
    Ok(())
}

/// Plain text in pieces of at most `max_length` tokens, all of which are targets.
pub(super) fn windows(
    files: &[PathBuf],
    tokenizer: &TextTokenizer,
    max_length: usize,
) -> Result<Vec<Sample>, StudyError> {
    let mut windows = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path).map_err(StudyError::io(path))?;
        let before = windows.len();
        let ids = tokenizer.encode(&text, true)?;
        for piece in ids.chunks(max_length).filter(|piece| piece.len() > 1) {
            let target_mask = (0..piece.len()).map(|at| at > 0).collect();
            windows.push(Sample {
                input_ids: piece.to_vec(),
                target_mask,
                task_type: None,
                ..Sample::default()
            });
        }
        if windows.len() == before {
            let allowed = "a file with text in it";
            return Err(StudyError::value("data.text", path.display(), allowed));
        }
    }
    Ok(windows)
}
