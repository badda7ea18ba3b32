use serde::{Deserialize, Serialize};

/// What the columns of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// `instruction`, `output`, optionally `input`, `system` and `history` (pairs of texts): Stanford
    /// Alpaca's.
    Instruction,
    /// `question` and `answer`, as in GSM8K: an instruction without an input.
    Question,
    /// `messages` or `conversations`, optionally `tools` and `system`: turns of `role` and `content`
    /// (OpenAI's) or of `from` and `value` (ShareGPT's).
    Messages,
    /// `prompt` and `completion`, both texts, which are taken literally, or both messages.
    Completion,
    /// `chosen`, as text with a `prompt` or as messages: the better answer of preference data.
    Preference,
    /// `text`, all of which is learned. Found only where there is no other shape: data sets carry
    /// such a column besides.
    Text,
}

impl Shape {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Instruction, "`instruction` + `output` (and `input`, `system`, `history`)"),
        (Self::Question, "`question` + `answer`"),
        (Self::Messages, "`messages` or `conversations` (and `tools`, `system`)"),
        (Self::Completion, "`prompt` + `completion`"),
        (Self::Preference, "`chosen` (and `prompt`)"),
        (Self::Text, "`text`"),
    ];

    /// The columns of answers of shapes whose other columns tell what they are.
    pub(super) const ANSWERS: [&'static str; 3] = ["output", "answer", "completion"];

    /// The name in a configuration file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instruction => "instruction",
            Self::Question => "question",
            Self::Messages => "messages",
            Self::Completion => "completion",
            Self::Preference => "preference",
            Self::Text => "text",
        }
    }

    /// All shapes with their columns, for a message.
    pub(crate) fn list() -> String {
        let of = |(shape, columns): &(Self, &str)| format!("\"{}\": {columns}", shape.as_str());
        Self::ALL.iter().map(of).collect::<Vec<_>>().join("; ")
    }

    /// The shapes that a row with these columns can have.
    pub(super) fn of_columns(has: impl Fn(&str) -> bool) -> Vec<Self> {
        let found = [
            (Self::Instruction, has("instruction") && has("output")),
            (Self::Question, has("question") && has("answer")),
            (Self::Messages, has("messages")),
            (Self::Messages, has("conversations")),
            (Self::Completion, has("prompt") && has("completion")),
            (Self::Preference, has("chosen")),
        ];
        let mut shapes: Vec<_> =
            found.into_iter().filter(|(_, has)| *has).map(|(shape, _)| shape).collect();
        if shapes.is_empty() && has("text") {
            shapes.push(Self::Text);
        }
        shapes
    }
}
