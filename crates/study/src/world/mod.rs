//! A small invented world: facts to know, letter tasks to learn, and plain text to model.
//!
//! The demonstration pre-trains a small model on the facts until it answers closed-book questions, then tunes it
//! on tasks that have nothing to do with them. What it still answers afterwards is the knowledge that the tuning
//! left intact. For that to be measured cleanly the sets keep four things apart:
//!
//! * the entities whose facts are rehearsed in the tuning data and those whose facts are asked for afterwards;
//! * the phrasing of the rehearsal and the phrasings that are evaluated;
//! * the inputs of the tasks in the tuning data and those that are evaluated;
//! * the random streams: no set changes when another one grows.
//!
//! Everything is plain host code and a function of [`WorldConfig`] and the seed of the call.

mod attribute;
mod config;
mod error;
mod exchange;
mod fact;
mod grammar;
mod names;
mod sets;
mod stream;
mod task;
mod tokenizer;
mod vocabulary;

#[cfg(test)]
mod tests;

use rand::seq::SliceRandom;

pub use attribute::{Attribute, Phrasing};
pub use config::WorldConfig;
pub use error::WorldError;
pub use exchange::{Exchange, ExchangeKind, KNOWLEDGE, OTHER};
pub use fact::Fact;
pub use task::{ALPHABET, Task};
pub use vocabulary::{BOS, EOS, PAD, UNK};

use stream::{Purpose, stream};

/// Entities with their facts, and the sets of text made from them.
#[derive(Clone, Debug)]
pub struct World {
    config: WorldConfig,
    facts: Vec<Fact>,
    vocabulary: Vec<String>,
}

impl World {
    /// Makes the world that `config` describes.
    ///
    /// # Errors
    /// When the number of entities or a share is out of range, see [`WorldConfig::validate`].
    pub fn new(config: &WorldConfig) -> Result<Self, WorldError> {
        config.validate()?;
        let mut rng = stream(config.seed, Purpose::Facts, 0);
        let names = names::draw(config.entities, &mut rng);
        let rehearsed = config.rehearsed_entities();

        let mut facts = Vec::with_capacity(names.len() * Attribute::ALL.len());
        for (entity, name) in names.iter().enumerate() {
            for attribute in Attribute::ALL {
                facts.push(Fact {
                    entity,
                    name: name.clone(),
                    attribute,
                    value: attribute.draw(&mut rng),
                    rehearsed: entity < rehearsed,
                });
            }
        }
        // Shuffled, so that any prefix of an evaluation set is a fair sample of entities and attributes.
        facts.shuffle(&mut rng);
        Ok(Self { config: config.clone(), facts, vocabulary: vocabulary::collect() })
    }

    /// What the world was made from.
    pub fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// All facts, in shuffled order.
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// All words; a word's position is its token id.
    pub fn vocabulary(&self) -> &[String] {
        &self.vocabulary
    }

    /// The word-level tokenizer over [`World::vocabulary`].
    ///
    /// Text is split at white space. Encoding with special tokens puts `<s>` first; the end token is the caller's
    /// to append. Decoding joins the words by one space.
    ///
    /// # Errors
    /// When the tokenizer refuses the vocabulary.
    pub fn tokenizer(&self) -> Result<tokenizers::Tokenizer, WorldError> {
        tokenizer::build(&self.vocabulary)
    }
}
