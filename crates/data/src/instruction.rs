use super::{Dialogue, Message, Role};

/// An instruction and its answer, as in Stanford Alpaca.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub instruction: String,
    /// What to do it with; empty when there is none.
    pub input: String,
    /// The answer.
    pub output: String,
    /// Standing instructions, which only a chat template has a place for.
    pub system: Option<String>,
    /// What was asked and answered before, which only a chat template has a place for.
    pub history: Vec<(String, String)>,
}

impl Instruction {
    /// As a conversation; `prompt` is the user's last turn.
    pub(super) fn dialogue(&self, prompt: String) -> Dialogue {
        let system = self.system.iter().map(|text| Message::new(Role::System, text.as_str()));
        let history = self.history.iter().flat_map(|(asked, answered)| {
            [
                Message::new(Role::User, asked.as_str()),
                Message::new(Role::Assistant, answered.as_str()),
            ]
        });
        let last = [Message::new(Role::User, prompt), Message::new(Role::Assistant, &*self.output)];
        Dialogue::new(system.chain(history).chain(last).collect())
    }
}
