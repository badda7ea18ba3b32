use super::{Attribute, Exchange, ExchangeKind, KNOWLEDGE, Phrasing};

/// One fact: an entity, an attribute, and the one value it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Number of the entity.
    pub entity: usize,
    /// Its name, two words.
    pub name: String,
    /// What the fact is about.
    pub attribute: Attribute,
    /// The answer, one word.
    pub value: &'static str,
    /// Whether the fact may occur in the tuning data, and is therefore never evaluated.
    pub rehearsed: bool,
}

impl Fact {
    /// The fact in words, as a prompt and the answer to it.
    pub fn exchange(&self, phrasing: Phrasing) -> Exchange {
        let kind = match phrasing {
            Phrasing::Question | Phrasing::Rehearsal => ExchangeKind::Question,
            Phrasing::Statement | Phrasing::Description => ExchangeKind::Statement,
        };
        Exchange {
            prompt: self.attribute.prompt(phrasing, &self.name),
            answer: self.value.to_owned(),
            task_type: KNOWLEDGE,
            kind,
        }
    }
}
