use serde::{Deserialize, Serialize};

use super::{DataError, Origin};

/// How an instruction becomes a prompt.
///
/// In a configuration file: `"alpaca"`, `"plain"`, `"chat"` or `{ custom = "Q: {instruction}\nA:"
/// }`. Conversations always use the chat template; records with a finished `prompt` keep it, except
/// under `chat`, where it becomes the user's turn; plain texts have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptTemplate {
    /// Stanford Alpaca's text, with and without an input. The default.
    #[default]
    Alpaca,
    /// LoRAMoE's: the instruction, then a line break and the input where there is one, then the
    /// *end token*, which separates prompt and answer.
    Plain,
    /// The tokenizer's chat template, with instruction and input (after a blank line) as the user's
    /// turn.
    Chat,
    /// A text of one's own with `{instruction}` and `{input}`; `{{` and `}}` stand for braces.
    Custom(String),
}

const ALLOWED: &str =
    "text with {instruction} and, where records have one, {input}; {{ and }} for literal braces";

impl PromptTemplate {
    /// Checks a text of the user's own.
    ///
    /// # Errors
    /// [`DataError::Template`] for an unknown placeholder, an unpaired brace, or no
    /// `{instruction}`.
    pub fn check(&self) -> Result<(), DataError> {
        let Self::Custom(text) = self else { return Ok(()) };
        if pieces(text)?.contains(&Piece::Instruction) {
            return Ok(());
        }
        Err(DataError::Template { found: "no {instruction} in it".into(), allowed: ALLOWED })
    }

    /// The prompt's text; for [`Self::Chat`] the user's turn.
    pub(super) fn render(
        &self,
        instruction: &str,
        input: &str,
        origin: &Origin,
    ) -> Result<String, DataError> {
        let has_input = !input.trim().is_empty();
        Ok(match self {
            Self::Alpaca if has_input => format!(
                "Below is an instruction that describes a task, paired with an input that provides \
                 further context. Write a response that appropriately completes the request.\n\n\
                 ### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
            ),
            Self::Alpaca => format!(
                "Below is an instruction that describes a task. Write a response that \
                 appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Response:"
            ),
            Self::Plain if has_input => format!("{instruction}\n{input}"),
            Self::Chat if has_input => format!("{instruction}\n\n{input}"),
            Self::Plain | Self::Chat => instruction.to_owned(),
            Self::Custom(text) => {
                let pieces = pieces(text)?;
                if has_input && !pieces.contains(&Piece::Input) {
                    let (origin, remedy) = (origin.clone(), "add {input} to the template");
                    return Err(DataError::TemplateDrops { origin, key: "input", remedy });
                }
                pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => text.as_str(),
                        Piece::Instruction => instruction,
                        Piece::Input => input,
                    })
                    .collect()
            }
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Instruction,
    Input,
}

/// Cuts a template at its placeholders, so that braces inside the data are never taken for one.
fn pieces(template: &str) -> Result<Vec<Piece>, DataError> {
    let wrong = |found: String| DataError::Template { found, allowed: ALLOWED };
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let tail = &rest[at..];
        if tail.starts_with("{{") || tail.starts_with("}}") {
            text.push_str(&tail[..1]);
            rest = &tail[2..];
            continue;
        }
        if tail.starts_with('}') {
            return Err(wrong(format!("an unpaired `}}` at byte {}", template.len() - tail.len())));
        }
        let Some(end) = tail.find('}') else {
            return Err(wrong(format!("an unpaired `{{` at byte {}", template.len() - tail.len())));
        };
        let piece = match &tail[1..end] {
            "instruction" => Piece::Instruction,
            "input" => Piece::Input,
            other => return Err(wrong(format!("unknown placeholder {{{other}}}"))),
        };
        pieces.push(Piece::Text(std::mem::take(&mut text)));
        pieces.push(piece);
        rest = &tail[end + 1..];
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text));
    Ok(pieces)
}
