use std::ops::Range;

use model_zoo::MarkedChat;

use super::{DataError, Message, Origin, Role, TextEncoder, TrainOn};

/// A conversation as text, cut where what is learned begins and ends.
#[derive(Debug)]
pub(super) struct Conversation {
    pub text: String,
    /// Byte offset where a piece ends, and whether it is a target; pieces alternate.
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
}

/// Renders a conversation: one text, or one for each turn of the assistant.
///
/// Where the template marks what is the assistant's (`{% generation %}`), that is learned. Elsewhere
/// it is found by rendering beginnings of the conversation. What follows the last target teaches
/// nothing and is left out.
pub(super) fn render(
    messages: &[Message],
    train_on: TrainOn,
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<Vec<Conversation>, DataError> {
    let is_turn = |turn: &usize| messages[*turn].role == Role::Assistant;
    let mut turns = (0..messages.len()).filter(is_turn);
    let one = |turn: usize| one_turn(&messages[..=turn], encoder, origin);
    match train_on {
        TrainOn::AllTurns => Ok(vec![all_turns(messages, turns, encoder, origin)?]),
        TrainOn::LastTurn => turns.next_back().map(one).into_iter().collect(),
        TrainOn::EachTurn => turns.map(one).collect(),
    }
}

/// All turns in one text, by rendering each beginning up to an assistant's turn with the generation
/// prompt (masked), and with the turn (target, up to the template's end marker).
fn all_turns(
    messages: &[Message],
    turns: impl Iterator<Item = usize>,
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<Conversation, DataError> {
    if let Some(MarkedChat { text, assistant }) = marked(messages, encoder, origin)? {
        return Ok(Conversation::marked(text, assistant));
    }
    let mut conversation = Conversation { text: String::new(), cuts: Vec::new(), closed: false };
    for turn in turns {
        let prompt = prompt(&messages[..turn], encoder, origin)?;
        let full = render_with(&messages[..=turn], false, encoder, origin)?;
        for (longer, shorter) in [(&prompt, &conversation.text), (&full, &prompt)] {
            if !longer.starts_with(shorter.as_str()) {
                return Err(DataError::ChatPrefix { origin: origin.clone(), turn });
            }
        }
        let (end, closed) = turn_end(&full[prompt.len()..], &messages[turn].content);
        conversation.cuts.push((prompt.len(), false));
        conversation.cuts.push((prompt.len() + end, true));
        conversation.closed = closed;
        conversation.text = full;
    }
    Ok(conversation)
}

/// The last of `messages`, the assistant's, as the only target.
///
/// It begins where the text leaves what generation would start from. That is all of the prompt,
/// but for templates whose prompt opens a thought that a turn without one does not have.
fn one_turn(
    messages: &[Message],
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<Conversation, DataError> {
    if let Some(MarkedChat { text, assistant }) = marked(messages, encoder, origin)? {
        return Ok(Conversation::marked(text, assistant.last().cloned()));
    }
    let turn = messages.len() - 1;
    let prompt = prompt(&messages[..turn], encoder, origin)?;
    let text = render_with(messages, false, encoder, origin)?;
    let other = text.char_indices().zip(prompt.chars()).find(|((_, a), b)| a != b);
    let begin = other.map_or(prompt.len().min(text.len()), |((at, _), _)| at);
    let content = messages[turn].content.trim();
    if begin < prompt.len() {
        // They may part only behind what was said before, and before the answer.
        let before = render_with(&messages[..turn], false, encoder, origin)?;
        let before = before.trim_end();
        let after_it = text.starts_with(before) && begin >= before.len();
        if !after_it || !text[begin..].contains(content) {
            return Err(DataError::ChatPrefix { origin: origin.clone(), turn });
        }
    }
    let (end, closed) = turn_end(&text[begin..], content);
    Ok(Conversation { cuts: vec![(begin, false), (begin + end, true)], text, closed })
}

/// A conversation up to where the assistant's next turn begins.
pub(super) fn prompt(
    messages: &[Message],
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<String, DataError> {
    render_with(messages, true, encoder, origin)
}

fn render_with(
    messages: &[Message],
    add_generation_prompt: bool,
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<String, DataError> {
    encoder.render_chat(messages, add_generation_prompt).map_err(failed(origin))
}

fn marked(
    messages: &[Message],
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<Option<MarkedChat>, DataError> {
    encoder.render_marked_chat(messages).map_err(failed(origin))
}

fn failed(origin: &Origin) -> impl FnOnce(super::BoxError) -> DataError {
    let (origin, action) = (origin.clone(), "rendering the chat template");
    move |source| DataError::Encoder { origin, action, source }
}

/// Where a rendered turn ends, its end marker included but not the white space after it, which
/// belongs to the next turn; and whether there is a marker.
fn turn_end(rendered: &str, content: &str) -> (usize, bool) {
    // Templates may trim the content.
    let content = content.trim();
    let Some(at) = rendered.find(content) else {
        return (rendered.len(), true);
    };
    let after = at + content.len();
    let marker = rendered[after..].trim_end();
    (after + marker.len(), !marker.is_empty())
}
