use crate::fewshot::ChatTemplate;

/// How many documents of a task are evaluated.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Limit {
    /// All.
    #[default]
    All,
    /// The first so many.
    Count(usize),
    /// The first share, rounded up.
    Share(f64),
}

impl Limit {
    /// As the harness reads its `--limit`: below 1 it is a share.
    pub fn of_number(number: f64) -> Self {
        if number < 1.0 { Self::Share(number.max(0.0)) } else { Self::Count(number as usize) }
    }

    /// How many of `documents` that are.
    pub fn of(self, documents: usize) -> usize {
        match self {
            Self::All => documents,
            Self::Count(count) => count.min(documents),
            Self::Share(share) => ((documents as f64 * share).ceil() as usize).min(documents),
        }
    }
}

/// How prompts are made.
#[derive(Clone, Copy)]
pub struct PromptOptions<'a> {
    /// Seeds the generator that draws examples.
    pub fewshot_seed: u64,
    /// What the conversation, or the text, begins with.
    pub system_instruction: Option<&'a str>,
    /// Makes a conversation of the prompt.
    pub chat_template: Option<&'a dyn ChatTemplate>,
    /// Whether examples are turns of the conversation, or part of the one question.
    pub fewshot_as_multiturn: bool,
}

impl Default for PromptOptions<'_> {
    fn default() -> Self {
        Self {
            fewshot_seed: 1234,
            system_instruction: None,
            chat_template: None,
            fewshot_as_multiturn: true,
        }
    }
}
