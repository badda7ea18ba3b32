use std::borrow::Cow;

use super::{
    DataError, Dialogue, EncodeConfig, EncodeReport, Encoded, Instruction, Message, Origin,
    PromptTemplate, Record, RecordContent, Role, Sample, TextEncoder,
    chat::{self, Conversation},
    row_encoder::{EncodedRow, RowEncoder},
    segments::Segments,
};

/// Tokenises records.
///
/// A sample is the prompt's tokens, then the answer's, then the end token. The prompt is encoded on
/// its own with the tokenizer's special tokens, so its ids are exactly those that generation starts
/// from ([`encode_prompt`]); the answer's ids are what encoding both together adds to them (as TRL
/// does) and, where the tokenizer merges across the boundary, those of the answer alone (as LoRAMoE
/// does; counted in [`EncodeReport::boundary_splits`]). Under [`PromptTemplate::Plain`] the end
/// token stands between the two, and they are always encoded separately.
///
/// Targets are the answer and the end token; in a conversation the assistant's turns with the
/// template's end marker, as [`ChatConfig`](super::ChatConfig) says; of a plain text everything.
/// With `train_on_prompt` everything is. Position 0 never is.
///
/// Samples longer than `max_length` lose their end (and with it the end token), those left without
/// a target are left out; both are counted in the report.
///
/// # Errors
/// [`DataError::NoTargets`] when nothing is left, and those of [`encode_rows`].
pub fn encode_records(
    records: &[Record],
    encoder: &dyn TextEncoder,
    config: &EncodeConfig,
) -> Result<(Vec<Sample>, EncodeReport), DataError> {
    let Encoded { samples, report, .. } = encode_rows(records, encoder, config)?;
    if samples.is_empty() { Err(DataError::NoTargets { report }) } else { Ok((samples, report)) }
}

/// As [`encode_records`], and tells which record each sample comes from and what became of records
/// that are cut or left out.
///
/// # Errors
/// [`DataError::MixedTaskTypes`] when only some records have a task type,
/// [`DataError::NoEndToken`], [`DataError::ChatPrefix`], [`DataError::TemplateDrops`], those of the
/// tokenizer and of [`EncodeConfig::check`].
pub fn encode_rows(
    records: &[Record],
    encoder: &dyn TextEncoder,
    config: &EncodeConfig,
) -> Result<Encoded, DataError> {
    let mut row_encoder = RowEncoder::new(encoder, config)?;
    if records.is_empty() {
        return Err(DataError::NoRecords("an empty list of records".into()));
    }
    let mut all = Encoded::default();
    for (row, record) in records.iter().enumerate() {
        let EncodedRow { samples, cut } = row_encoder.encode(record)?;
        if cut {
            all.cut_rows.insert(row);
        }
        if samples.is_empty() {
            all.dropped_rows.insert(row);
        }
        all.rows.resize(all.rows.len() + samples.len(), row);
        all.samples.extend(samples);
    }
    all.report = row_encoder.report();
    Ok(all)
}

/// The prompt of one record as generation must see it: the tokens before its (last) answer.
///
/// # Errors
/// As [`encode_rows`], for one record.
pub fn encode_prompt(
    record: &Record,
    encoder: &dyn TextEncoder,
    template: &PromptTemplate,
) -> Result<Vec<u32>, DataError> {
    let origin = &record.origin;
    let mut segments = Segments::default();
    match Draft::new(record, template)? {
        Draft::Chat(dialogue) => {
            let messages = &dialogue.messages;
            let turn = messages.iter().rposition(|message| message.role == Role::Assistant);
            let before = dialogue.view().first(turn.unwrap_or(messages.len()));
            let text = chat::prompt(before, encoder, origin)?;
            segments.append(&text, &[(text.len(), false)], false, encoder, origin)?;
        }
        Draft::Text { prompt, separated, .. } => {
            segments.append(&prompt, &[(prompt.len(), false)], true, encoder, origin)?;
            if separated {
                segments.push(&[end_token(encoder, "the template `plain`")?], false);
            }
        }
    }
    Ok(segments.ids)
}

pub(super) fn encode_record(
    record: &Record,
    encoder: &dyn TextEncoder,
    config: &EncodeConfig,
) -> Result<Vec<Segments>, DataError> {
    let origin = &record.origin;
    let mut segments = Segments::default();
    match Draft::new(record, &config.template)? {
        Draft::Chat(dialogue) => {
            let conversations = chat::render(&dialogue, config.chat.train_on, encoder, origin)?;
            let encoded = conversations.into_iter().map(|conversation| {
                let Conversation { text, cuts, closed } = conversation;
                let mut segments = Segments::default();
                segments.append(&text, &cuts, false, encoder, origin)?;
                if !closed {
                    append_eos(&mut segments, encoder, config)?;
                }
                Ok(segments)
            });
            return encoded.collect();
        }
        Draft::Text { prompt, answer, separated: true } => {
            segments.append(&prompt, &[(prompt.len(), false)], true, encoder, origin)?;
            segments.push(&[end_token(encoder, "the template `plain`")?], false);
            append_alone(&mut segments, answer, encoder, origin)?;
        }
        Draft::Text { prompt, answer, separated: false } => {
            let text = format!("{prompt}{answer}");
            let cuts = [(prompt.len(), false), (text.len(), true)];
            segments.append(&text, &cuts, true, encoder, origin)?;
        }
    }
    append_eos(&mut segments, encoder, config)?;
    Ok(vec![segments])
}

fn append_eos(
    segments: &mut Segments,
    encoder: &dyn TextEncoder,
    config: &EncodeConfig,
) -> Result<(), DataError> {
    if config.append_eos {
        let eos = end_token(encoder, "`append_eos`")?;
        // Some tokenizers, or the data itself, end with it already.
        if segments.ids.last() != Some(&eos) {
            segments.push(&[eos], true);
        }
    }
    Ok(())
}

fn append_alone(
    segments: &mut Segments,
    answer: &str,
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<(), DataError> {
    let mut alone = Segments::default();
    alone.append(answer, &[(answer.len(), true)], false, encoder, origin)?;
    segments.push(&alone.ids, true);
    Ok(())
}

fn end_token(encoder: &dyn TextEncoder, needed_by: &'static str) -> Result<u32, DataError> {
    encoder.eos_id().ok_or(DataError::NoEndToken { needed_by })
}

/// A record with its template applied.
enum Draft<'a> {
    Chat(Cow<'a, Dialogue>),
    Text { prompt: String, answer: &'a str, separated: bool },
}

impl<'a> Draft<'a> {
    fn new(record: &'a Record, template: &PromptTemplate) -> Result<Self, DataError> {
        let as_chat = *template == PromptTemplate::Chat;
        Ok(match &record.content {
            RecordContent::Dialogue(dialogue) => Self::Chat(Cow::Borrowed(dialogue)),
            RecordContent::Instruction(instruction) => {
                let Instruction { instruction: text, input, output, system, history } = instruction;
                let prompt = template.render(text, input, &record.origin)?;
                if as_chat {
                    return Ok(Self::Chat(Cow::Owned(instruction.dialogue(prompt))));
                }
                let dropped = [(system.is_some(), "system"), (!history.is_empty(), "history")];
                if let Some((_, key)) = dropped.into_iter().find(|(there, _)| *there) {
                    let (origin, remedy) = (record.origin.clone(), "set `template` to \"chat\"");
                    return Err(DataError::TemplateDrops { origin, key, remedy });
                }
                let separated = *template == PromptTemplate::Plain;
                Self::Text { prompt, answer: output, separated }
            }
            RecordContent::Completion { prompt, completion } if as_chat => {
                let turns = [(Role::User, prompt), (Role::Assistant, completion)];
                let turns = turns.map(|(role, text)| Message::new(role, text.as_str()));
                Self::Chat(Cow::Owned(Dialogue::new(turns.into())))
            }
            RecordContent::Completion { prompt, completion } => {
                Self::Text { prompt: prompt.clone(), answer: completion, separated: false }
            }
            RecordContent::Text(text) => {
                Self::Text { prompt: String::new(), answer: text, separated: false }
            }
        })
    }
}
