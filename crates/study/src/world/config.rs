use serde::{Deserialize, Serialize};

use super::{WorldError, names};

/// Size and proportions of a [`World`](super::World).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Entities, each with one fact per attribute. Default 120, which gives 480 facts.
    pub entities: usize,
    /// Seed of the facts and of all sets. Default 0.
    pub seed: u64,
    /// Share of the entities whose facts may occur in the tuning data. Default 0.25.
    pub rehearsed: f64,
    /// Share of knowledge questions in the tuning data. Default 0.10.
    pub knowledge_share: f64,
    /// Share of general text in the pre-training data. Default 0.15.
    pub text_share: f64,
    /// Share of runs of letters in the pre-training data. Default 0.15.
    ///
    /// Without them the letters' embeddings stay as they were drawn, and tuning, which leaves embeddings frozen,
    /// would have to work around noise.
    pub letters_share: f64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self {
            entities: 120,
            seed: 0,
            rehearsed: 0.25,
            knowledge_share: 0.10,
            text_share: 0.15,
            letters_share: 0.15,
        }
    }
}

impl WorldConfig {
    /// Checks that the entities can be named and that all shares are between 0 and 1.
    ///
    /// # Errors
    /// Names the first value that is out of range.
    pub fn validate(&self) -> Result<(), WorldError> {
        let most = names::capacity();
        if !(2..=most).contains(&self.entities) {
            return Err(WorldError::Entities { entities: self.entities, most });
        }
        for (name, share) in [
            ("rehearsed", self.rehearsed),
            ("knowledge_share", self.knowledge_share),
            ("text_share", self.text_share),
            ("letters_share", self.letters_share),
            ("text_share + letters_share", self.text_share + self.letters_share),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(WorldError::Share { name, share });
            }
        }
        if self.rehearsed_entities() == self.entities {
            return Err(WorldError::NothingToAsk);
        }
        if self.knowledge_share > 0.0 && self.rehearsed_entities() == 0 {
            return Err(WorldError::NothingToRehearse);
        }
        Ok(())
    }

    /// Number of entities whose facts may occur in the tuning data.
    pub fn rehearsed_entities(&self) -> usize {
        (self.rehearsed * self.entities as f64).round() as usize
    }
}
