//! What real chat templates make of conversations, and what of it is learned, against transformers:
//! `docs/parity/chat_templates.py` wrote what is expected.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use model_zoo::{ChatMessage, TextTokenizer};
use serde::Deserialize;
use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer, models::bpe::BPE, pre_tokenizers::byte_level::ByteLevel};

use super::*;

#[derive(Deserialize)]
struct Golden {
    conversations: BTreeMap<String, OrderedValue>,
    templates: BTreeMap<String, Template>,
}

#[derive(Deserialize)]
struct Template {
    bos_token: Option<String>,
    eos_token: String,
    bytes: usize,
    dates: BTreeMap<String, String>,
    cases: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    /// The whole conversation; absent where the template refuses it.
    text: Option<String>,
    /// What the generation prompt adds, or a list with all of the text where that begins otherwise.
    prompt: Option<Value>,
    /// Bytes of the text that are learned, or why none are.
    all_turns: Option<Value>,
    /// The text that those are of, where it is not the beginning of `text`.
    all_turns_text: Option<String>,
    /// What is learned of each turn, or why nothing is.
    each_turn: Option<Value>,
}

/// A token for each byte, so that every place of a text is between two tokens.
fn tokenizer(bos: Option<&str>, eos: &str) -> TextTokenizer {
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let vocabulary = alphabet.into_iter().enumerate();
    let vocabulary = vocabulary.map(|(id, character)| (character.to_string(), id as u32));
    let vocabulary: HashMap<_, _, _> = vocabulary.collect();
    let model = BPE::builder().vocab_and_merges(vocabulary, Vec::new());
    let mut tokenizer = Tokenizer::new(model.build().unwrap());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, false)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let special: Vec<_> =
        bos.into_iter().chain([eos]).map(|token| AddedToken::from(token, true)).collect();
    tokenizer.add_special_tokens(special).unwrap();
    TextTokenizer::from_tokenizer(tokenizer, bos, Some(eos), None).unwrap()
}

/// One with `<s>` and `</s>`.
pub(super) fn bytes_tokenizer() -> TextTokenizer {
    tokenizer(Some("<s>"), "</s>")
}

/// Where the templates are, which are not part of the repository.
fn folder() -> PathBuf {
    match std::env::var_os("LORA_MOE_CHAT_TEMPLATES") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/material/chat_templates"),
    }
}

#[test]
fn real_templates_give_the_text_and_masks_of_transformers() {
    let golden: Golden = serde_json::from_str(include_str!("chat_templates.json")).unwrap();
    let mut wrong = Vec::new();
    for (name, template) in &golden.templates {
        let path = folder().join(format!("{name}.jinja"));
        let Ok(source) = std::fs::read_to_string(&path) else {
            println!("skipped: {} is absent", path.display());
            continue;
        };
        assert_eq!(source.len(), template.bytes, "{} is another template", path.display());
        let bare = tokenizer(template.bos_token.as_deref(), &template.eos_token);
        let tokenizer = bare.clone().with_chat_template(&source).unwrap();
        let dates = template.dates.iter().map(|(format, day)| {
            let now = format!("{{{{ strftime_now('{format}') }}}}");
            let now = bare.clone().with_chat_template(&now).unwrap();
            let none: [ChatMessage; 0] = [];
            (now.apply_chat_template(&none, false).unwrap(), day.clone())
        });
        let template_test = TemplateTest { tokenizer: &tokenizer, dates: dates.collect() };
        for (shape, case) in &template.cases {
            let record = record_of(&golden.conversations[shape]);
            if let Err(error) = template_test.compare(&record, case) {
                wrong.push(format!("{name}, {shape}: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// The record, read from a file; turns that are kept from being learned only because a reader
/// refuses empty ones are learned all the same.
fn record_of(conversation: &OrderedValue) -> Record {
    let mut records = shapes::read(&serde_json::to_string(conversation).unwrap()).unwrap();
    let mut record = records.remove(0);
    let RecordContent::Dialogue(dialogue) = &mut record.content else { panic!("shape") };
    dialogue.messages.iter_mut().for_each(|message| message.train = true);
    record
}

struct TemplateTest<'a> {
    tokenizer: &'a TextTokenizer,
    /// Today, and the day that stands for it.
    dates: Vec<(String, String)>,
}

impl TemplateTest<'_> {
    fn compare(&self, record: &Record, case: &Case) -> Result<(), String> {
        let RecordContent::Dialogue(dialogue) = &record.content else { panic!("shape") };
        let render = |prompt| TextEncoder::render_chat(self.tokenizer, dialogue.view(), prompt);
        let Some(expected) = &case.text else {
            return match render(false) {
                Ok(text) => Err(format!("transformers refuses what renders as {text:?}")),
                Err(_) => Ok(()),
            };
        };
        let text = self.fixed(&render(false).map_err(|error| error.to_string())?);
        equal("text", &text, expected)?;
        match &case.prompt {
            Some(Value::String(added)) => {
                let prompt = self.fixed(&render(true).map_err(|error| error.to_string())?);
                equal("prompt", &prompt, &format!("{expected}{added}"))?;
            }
            Some(Value::Array(whole)) => {
                let prompt = self.fixed(&render(true).map_err(|error| error.to_string())?);
                equal("prompt", &prompt, whole[0].as_str().unwrap())?;
            }
            _ => {}
        }
        let all = self.learned(record, TrainOn::AllTurns);
        match case.all_turns.as_ref().unwrap() {
            Value::Array(spans) => {
                let samples = all.map_err(|error| format!("all_turns: {error}"))?;
                let [pieces] = &samples[..] else { panic!("one sample") };
                let whole: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
                let expected = case.all_turns_text.as_ref().unwrap_or(expected);
                let mut end = 0;
                let learned: String = pieces
                    .iter()
                    .filter(|(_, learned)| *learned)
                    .map(|(text, _)| text.as_str())
                    .collect();
                let mut wanted = String::new();
                let mut masked = String::new();
                for span in spans {
                    let [from, to] = [&span[0], &span[1]].map(|at| at.as_u64().unwrap() as usize);
                    masked += &expected[end..from];
                    wanted += &expected[from..to];
                    end = to;
                }
                equal("all_turns", &whole, &expected[..end])?;
                equal("all_turns, learned", &learned, &wanted)?;
                let rest: String = pieces
                    .iter()
                    .filter(|(_, learned)| !*learned)
                    .map(|(text, _)| text.as_str())
                    .collect();
                equal("all_turns, masked", &rest, &masked)?;
            }
            reason => refused("all_turns", reason, all.map(drop))?,
        }
        let each = self.learned(record, TrainOn::EachTurn);
        match case.each_turn.as_ref().unwrap() {
            Value::Array(turns) => {
                let samples = each.map_err(|error| format!("each_turn: {error}"))?;
                let found: Vec<String> = samples
                    .iter()
                    .map(|pieces| {
                        pieces
                            .iter()
                            .filter(|(_, learned)| *learned)
                            .map(|(text, _)| text.as_str())
                            .collect()
                    })
                    .collect();
                let wanted: Vec<String> = turns
                    .iter()
                    .map(|pieces| {
                        pieces
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(|text| text.as_str().unwrap())
                            .collect()
                    })
                    .collect();
                equal("each_turn", &format!("{found:?}"), &format!("{wanted:?}"))?;
            }
            reason => refused("each_turn", reason, each.map(drop))?,
        }
        Ok(())
    }

    /// The pieces of each sample, and whether they are learned.
    fn learned(
        &self,
        record: &Record,
        train_on: TrainOn,
    ) -> Result<Vec<Vec<(String, bool)>>, DataError> {
        let config = EncodeConfig {
            max_length: 100_000,
            // Where a template ends a turn without a marker, the end token is no part of its text.
            append_eos: false,
            chat: ChatConfig { train_on },
            ..EncodeConfig::default()
        };
        let (samples, _) = encode_records(std::slice::from_ref(record), self.tokenizer, &config)?;
        let pieces = |sample: &Sample| {
            let pieces = Piece::of(sample, self.tokenizer).unwrap();
            pieces.into_iter().map(|piece| (self.fixed(&piece.text), piece.learned)).collect()
        };
        Ok(samples.iter().map(pieces).collect())
    }

    fn fixed(&self, text: &str) -> String {
        let replaced = |text: String, (today, day): &(String, String)| text.replace(today, day);
        self.dates.iter().fold(text.to_owned(), replaced)
    }
}

fn equal(what: &str, found: &str, expected: &str) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}:\n  found    {found:?}\n  expected {expected:?}")),
    }
}

/// Whether the same is refused for the same reason.
fn refused(what: &str, reason: &Value, found: Result<(), DataError>) -> Result<(), String> {
    let error = match found {
        Ok(()) => return Err(format!("{what}: expected {reason}, and found samples")),
        Err(error) => error,
    };
    let same = match reason.as_str() {
        Some("refused") => matches!(error, DataError::ChatPrefix { .. }),
        Some("drops tool_calls") => matches!(error, DataError::TemplateDrops { .. }),
        _ => matches!(error, DataError::Encoder { .. }),
    };
    match same {
        true => Ok(()),
        false => Err(format!("{what}: expected {reason}, and found {error}")),
    }
}
