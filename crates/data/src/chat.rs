use super::{DataError, Message, Origin, Role, TextEncoder};

/// A conversation as text, cut where the assistant's turns begin and end.
#[derive(Debug)]
pub(super) struct Conversation {
    pub text: String,
    /// Byte offset where a piece ends, and whether it is a target; pieces alternate.
    pub cuts: Vec<(usize, bool)>,
    /// Whether the template itself wrote an end marker after the last answer.
    pub closed: bool,
}

/// Renders a conversation by rendering each of its beginnings: up to an assistant's turn with the
/// generation prompt (masked), and with the turn (target, up to the template's end marker).
///
/// What follows the last assistant turn teaches nothing and is left out.
pub(super) fn render(
    messages: &[Message],
    encoder: &dyn TextEncoder,
    origin: &Origin,
) -> Result<Conversation, DataError> {
    let mut conversation = Conversation { text: String::new(), cuts: Vec::new(), closed: false };
    for (turn, message) in messages.iter().enumerate() {
        if message.role != Role::Assistant {
            continue;
        }
        let prompt = prompt(&messages[..turn], encoder, origin)?;
        let full = render_with(&messages[..=turn], false, encoder, origin)?;
        for (longer, shorter) in [(&prompt, &conversation.text), (&full, &prompt)] {
            if !longer.starts_with(shorter.as_str()) {
                return Err(DataError::ChatPrefix { origin: origin.clone(), turn });
            }
        }
        let (end, closed) = turn_end(&full[prompt.len()..], &message.content);
        conversation.cuts.push((prompt.len(), false));
        conversation.cuts.push((prompt.len() + end, true));
        conversation.closed = closed;
        conversation.text = full;
    }
    Ok(conversation)
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
    encoder.render_chat(messages, add_generation_prompt).map_err(|source| DataError::Encoder {
        origin: origin.clone(),
        action: "rendering the chat template",
        source,
    })
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
