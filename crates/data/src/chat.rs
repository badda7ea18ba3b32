use std::ops::Range;

use model_zoo::MarkedChat;

use super::{
    DataError, Dialogue, DialogueView, Message, Origin, Role, TextEncoder, TrainOn, tool_calls,
};

/// A conversation as text, cut where what is learned begins and ends.
#[derive(Debug)]
pub(super) struct Conversation {
    pub text: String,
    /// Byte offset where a piece ends, and whether it is a target; the last one is.
    pub cuts: Vec<(usize, bool)>,
    /// Whether the template itself wrote an end marker after the last answer.
    pub closed: bool,
}

impl Conversation {
    /// With pieces that the template itself marks as the assistant's, end marker included.
    fn marked(text: String, targets: impl IntoIterator<Item = Range<usize>>) -> Self {
        let cuts = targets.into_iter().flat_map(|range| [(range.start, false), (range.end, true)]);
        Self { text, cuts: cuts.collect(), closed: true }
    }

    /// The pieces that are targets.
    fn learned(&self) -> impl Iterator<Item = &str> {
        let mut begin = 0;
        self.cuts.iter().filter_map(move |&(end, target)| {
            let piece = &self.text[begin..end];
            begin = end;
            target.then_some(piece)
        })
    }
}

/// Renders a conversation: one text, or one for each turn of the assistant that is learned.
///
/// Where the template marks what is the assistant's (`{% generation %}`), that is learned. Elsewhere
/// it is found by rendering beginnings of the conversation. What follows the last target teaches
/// nothing and is left out. Without a turn that is learned there is no text.
pub(super) fn render(
    dialogue: &Dialogue,
    train_on: TrainOn,
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<Vec<Conversation>, DataError> {
    let chat = Rendering { encoder, origin };
    let is_target = |turn: &usize| dialogue.messages[*turn].is_target();
    let mut turns: Vec<usize> = (0..dialogue.messages.len()).filter(is_target).collect();
    if train_on == TrainOn::LastTurn {
        turns.drain(..turns.len().saturating_sub(1));
    }
    let rendered: Vec<_> = match (train_on, turns.last()) {
        (TrainOn::AllTurns, Some(last)) => vec![chat.all_turns(dialogue.view().first(last + 1))?],
        _ => {
            let one = |turn: &usize| chat.one_turn(dialogue.view().first(turn + 1));
            turns.iter().map(one).collect::<Result<_, _>>()?
        }
    };
    let learned = turns.iter().map(|turn| &dialogue.messages[*turn]);
    if drops_calls(learned, &rendered) {
        let remedy = "take a chat template that writes them, or set \"train\": false for the turn";
        return Err(DataError::TemplateDrops { origin: origin.clone(), key: "tool_calls", remedy });
    }
    Ok(rendered)
}

/// Whether calls of tools are missing in what is learned: many templates know no tools.
fn drops_calls<'a>(messages: impl Iterator<Item = &'a Message>, rendered: &[Conversation]) -> bool {
    let names = |message: &'a Message| message.field("tool_calls").map(tool_calls::names);
    let mut names = messages.filter_map(names).flatten().peekable();
    if names.peek().is_none() {
        return false;
    }
    let learned: Vec<&str> = rendered.iter().flat_map(Conversation::learned).collect();
    names.any(|name| !learned.iter().any(|text| text.contains(name)))
}

/// A conversation up to where the assistant's next turn begins.
pub(super) fn prompt(
    chat: DialogueView<'_>,
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<String, DataError> {
    Rendering { encoder, origin }.prompt(chat)
}

/// What renders, and what is rendered in errors.
struct Rendering<'a> {
    encoder: &'a dyn TextEncoder,
    origin: &'a Origin,
}

impl Rendering<'_> {
    /// All turns in one text, of which the beginnings up to each turn that is learned are
    /// beginnings. The last turn is learned.
    fn all_turns(&self, chat: DialogueView<'_>) -> Result<Conversation, DataError> {
        if let Some(marked) = self.marked(chat)? {
            let targets = self.targets_of_turns(chat, &marked)?;
            return Ok(Conversation::marked(marked.text, targets));
        }
        let mut whole = Conversation { text: String::new(), cuts: Vec::new(), closed: false };
        let turns = chat.messages.iter().enumerate().filter(|(_, message)| message.is_target());
        for (turn, _) in turns {
            let one = self.unmarked_turn(chat.first(turn + 1))?;
            let begin = one.cuts.first().map_or(0, |(begin, _)| *begin);
            if !one.text.starts_with(&whole.text) || begin < whole.text.len() {
                return Err(self.no_prefix(turn));
            }
            whole.cuts.extend(one.cuts);
            whole.closed = one.closed;
            whole.text = one.text;
        }
        Ok(whole)
    }

    /// The last message, the assistant's, as the only target.
    fn one_turn(&self, chat: DialogueView<'_>) -> Result<Conversation, DataError> {
        match self.marked(chat)? {
            None => self.unmarked_turn(chat),
            Some(marked) => {
                let ranges = self.marks_of_turns(chat, &marked)?.pop().unwrap_or_default();
                Ok(Conversation::marked(marked.text, ranges))
            }
        }
    }

    /// The last message as the only target, by rendering what generation would start from (masked)
    /// and the conversation (target, up to the template's end marker).
    ///
    /// It begins where the text leaves what generation would start from. That is all of the prompt,
    /// but for templates whose prompt opens a thought that a turn without one does not have.
    fn unmarked_turn(&self, chat: DialogueView<'_>) -> Result<Conversation, DataError> {
        let turn = chat.messages.len() - 1;
        let message = &chat.messages[turn];
        let prompt = self.prompt(chat.first(turn))?;
        let text = self.text(chat, false)?;
        let mut begin = common(&text, &prompt);
        if begin < prompt.len() {
            // What an answer has in common with the thought (`<table>` and `<think>`) is its own.
            let mut other = chat.messages.to_vec();
            other[turn] = Message::new(Role::Assistant, "\u{fdd2}");
            let other = DialogueView { messages: &other, ..chat };
            begin = begin.min(common(&self.text(other, false)?, &prompt));
            // They may part only behind what was said before, and before the answer.
            let before = self.text(chat.first(turn), false)?;
            let before = before.trim_end();
            let after_it = text.starts_with(before) && begin >= before.len();
            if !after_it || !text[begin..].contains(message.text().trim()) {
                return Err(self.no_prefix(turn));
            }
        }
        let (end, closed) = turn_end(&text[begin..], message);
        Ok(Conversation { cuts: vec![(begin, false), (begin + end, true)], text, closed })
    }

    /// What the template marks of the turns that are learned.
    fn targets_of_turns(
        &self,
        chat: DialogueView<'_>,
        marked: &MarkedChat,
    ) -> Result<Vec<Range<usize>>, DataError> {
        let assistant = || chat.messages.iter().filter(|message| message.role == Role::Assistant);
        if assistant().all(|message| message.train) {
            return Ok(marked.assistant.clone());
        }
        let of_turns = self.marks_of_turns(chat, marked)?;
        let learned = of_turns.into_iter().zip(assistant()).filter(|(_, message)| message.train);
        Ok(learned.flat_map(|(ranges, _)| ranges).collect())
    }

    /// What the template marks of each of the assistant's turns: one piece a turn, or else as many
    /// as there are more of with the turn than without it.
    fn marks_of_turns(
        &self,
        chat: DialogueView<'_>,
        marked: &MarkedChat,
    ) -> Result<Vec<Vec<Range<usize>>>, DataError> {
        let is_turn = |turn: &usize| chat.messages[*turn].role == Role::Assistant;
        let turns: Vec<usize> = (0..chat.messages.len()).filter(is_turn).collect();
        let ranges = &marked.assistant;
        if ranges.len() == turns.len() {
            return Ok(ranges.iter().map(|range| vec![range.clone()]).collect());
        }
        let mut from = 0;
        let mut of_turns = Vec::new();
        for &turn in &turns {
            let up_to = match turn + 1 == chat.messages.len() {
                true => ranges.len(),
                false => {
                    let beginning = self.marked(chat.first(turn + 1))?;
                    beginning.map_or(0, |beginning| beginning.assistant.len())
                }
            };
            let Some(own) = ranges.get(from..up_to) else { return Err(self.no_prefix(turn)) };
            of_turns.push(own.to_vec());
            from = up_to;
        }
        Ok(of_turns)
    }

    fn prompt(&self, chat: DialogueView<'_>) -> Result<String, DataError> {
        self.text(chat, true)
    }

    fn text(
        &self,
        chat: DialogueView<'_>,
        add_generation_prompt: bool,
    ) -> Result<String, DataError> {
        self.encoder.render_chat(chat, add_generation_prompt).map_err(self.failed())
    }

    fn marked(&self, chat: DialogueView<'_>) -> Result<Option<MarkedChat>, DataError> {
        self.encoder.render_marked_chat(chat).map_err(self.failed())
    }

    fn failed(&self) -> impl FnOnce(super::BoxError) -> DataError {
        let (origin, action) = (self.origin.clone(), "rendering the chat template");
        move |source| DataError::Encoder { origin, action, source }
    }

    fn no_prefix(&self, turn: usize) -> DataError {
        DataError::ChatPrefix { origin: self.origin.clone(), turn }
    }
}

/// The bytes that two texts begin with alike.
fn common(one: &str, other: &str) -> usize {
    let different = one.char_indices().zip(other.chars()).find(|((_, a), b)| a != b);
    different.map_or(one.len().min(other.len()), |((at, _), _)| at)
}

/// Where a rendered turn ends, its end marker included but not the white space after it, which
/// belongs to the next turn; and whether there is a marker.
fn turn_end(rendered: &str, message: &Message) -> (usize, bool) {
    // What was thought may hold the answer's text. Templates may trim both, or leave the thought out.
    let thought = message.reasoning().trim();
    let begin = rendered.find(thought).map_or(0, |at| at + thought.len());
    let content = message.text().trim();
    let Some(at) = rendered[begin..].find(content) else {
        // The template writes the content otherwise, and an end marker or not.
        return (rendered.trim_end().len(), true);
    };
    let after = begin + at + content.len();
    let marker = rendered[after..].trim_end();
    (after + marker.len(), !marker.is_empty())
}
