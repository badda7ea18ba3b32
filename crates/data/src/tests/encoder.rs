use model_zoo::MarkedChat;
use tokenizers::{
    AddedToken, Tokenizer, models::wordlevel::WordLevel, pre_tokenizers::whitespace::Whitespace,
    processors::template::TemplateProcessing,
};

use super::super::{BoxError, DialogueView, Role, Sample, TextEncoder};

const SPECIAL: [&str; 4] = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"];
const WORDS: &str = "<unk> name the capital of france paris is it . : .. :. ### system user assistant \
                     be brief thanks hello a b c d e f g h Q A Response Instruction Input";

/// How the test's chat template writes a conversation.
#[derive(Clone, Copy)]
pub enum ChatStyle {
    /// ChatML.
    Marked,
    /// `role: content`, a line each, without an end marker.
    Bare,
    /// Begins with the number of messages, so that no beginning is a prefix of the whole.
    Counting,
    /// Leaves the answers of earlier turns out, and its prompt opens a thought.
    Forgetful,
    /// Marks the answers, without their end.
    Marking,
    /// There is none.
    Missing,
}

/// Words, punctuation and a few special tokens; `<s>` before a text.
pub struct TestEncoder {
    tokenizer: Tokenizer,
    pub chat: ChatStyle,
    pub eos: Option<u32>,
}

impl TestEncoder {
    pub fn new() -> Self {
        let words = SPECIAL.into_iter().chain(WORDS.split_whitespace());
        let vocab = words.enumerate().map(|(id, word)| (word.to_owned(), id as u32)).collect();
        let model = WordLevel::builder().vocab(vocab).unk_token("<unk>".into()).build().unwrap();
        let mut tokenizer = Tokenizer::new(model);
        tokenizer.with_pre_tokenizer(Some(Whitespace {}));
        tokenizer.add_special_tokens(SPECIAL.map(|token| AddedToken::from(token, true))).unwrap();
        let mut processor = TemplateProcessing::builder();
        let processor = processor.try_single("<s> $A").unwrap().special_tokens(vec![("<s>", 0)]);
        tokenizer.with_post_processor(Some(processor.build().unwrap()));
        Self { tokenizer, chat: ChatStyle::Marked, eos: Some(1) }
    }

    pub fn words(&self, ids: &[u32]) -> String {
        let words = ids.iter().map(|&id| self.tokenizer.id_to_token(id).unwrap());
        words.collect::<Vec<_>>().join(" ")
    }

    /// The sample's words, targets in brackets.
    pub fn show(&self, sample: &Sample) -> String {
        let words = sample.input_ids.iter().zip(&sample.target_mask).map(|(&id, &target)| {
            let word = self.words(&[id]);
            if target { format!("[{word}]") } else { word }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}

impl TextEncoder for TestEncoder {
    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, BoxError> {
        Ok(self.tokenizer.encode(text, add_special_tokens)?.get_ids().to_vec())
    }

    fn eos_id(&self) -> Option<u32> {
        self.eos
    }

    fn render_chat(
        &self,
        chat: DialogueView<'_>,
        add_generation_prompt: bool,
    ) -> Result<String, BoxError> {
        let messages = chat.messages;
        let (open, middle, close) = match self.chat {
            ChatStyle::Marked => ("<|im_start|>", "\n", "<|im_end|>\n"),
            ChatStyle::Bare | ChatStyle::Counting => ("", ": ", "\n"),
            ChatStyle::Forgetful | ChatStyle::Marking => ("", ": ", " <|im_end|>\n"),
            ChatStyle::Missing => return Err("no chat template".into()),
        };
        let mut text = String::new();
        if matches!(self.chat, ChatStyle::Counting) {
            text.push_str(&format!("{} messages\n", messages.len()));
        }
        for (turn, message) in messages.iter().enumerate() {
            let (role, content) = (message.role, message.text());
            let forgotten = matches!(self.chat, ChatStyle::Forgetful) && turn + 1 < messages.len();
            let content = if forgotten && role == Role::Assistant { ".." } else { content };
            text.push_str(&format!("{open}{}{middle}{content}{close}", role.as_str()));
        }
        if add_generation_prompt {
            text.push_str(&format!("{open}assistant{middle}"));
            if matches!(self.chat, ChatStyle::Forgetful) {
                text.push_str(":..");
            }
        }
        Ok(text)
    }

    fn render_marked_chat(&self, chat: DialogueView<'_>) -> Result<Option<MarkedChat>, BoxError> {
        if !matches!(self.chat, ChatStyle::Marking) {
            return Ok(None);
        }
        let text = self.render_chat(chat, false)?;
        let mut ranges = Vec::new();
        let mut from = 0;
        for message in chat.messages.iter().filter(|message| message.role == Role::Assistant) {
            let begin = from + text[from..].find(message.text()).unwrap();
            from = begin + message.text().len();
            ranges.push(begin..from);
        }
        Ok(Some(MarkedChat { text, assistant: ranges }))
    }
}
