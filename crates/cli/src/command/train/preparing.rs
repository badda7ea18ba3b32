use indicatif::ProgressBar;
use lora_moe::finetune::run::Preparation;
use lora_moe::ranks::Ranks;

use super::decomposing;
use crate::progress::spinner;

/// Draws how far the preparation of a run has come, where something takes long.
pub struct Preparing {
    records: ProgressBar,
    decompositions: ProgressBar,
}

impl Preparing {
    /// On the rank that says everything.
    pub fn new(ranks: &dyn Ranks) -> Self {
        let records = match ranks.is_first() {
            true => spinner("records in the cache"),
            false => ProgressBar::hidden(),
        };
        Self { records, decompositions: decomposing(ranks) }
    }

    /// Draws the newest.
    pub fn show(&self, step: Preparation) {
        match step {
            Preparation::Records(done) => self.records.set_position(done as u64),
            Preparation::Decompositions { done, total } => {
                self.records.finish_and_clear();
                self.decompositions.set_length(total as u64);
                self.decompositions.set_position(done as u64);
            }
        }
    }

    /// Ends what is drawn.
    pub fn finish(&self) {
        self.records.finish_and_clear();
        self.decompositions.finish_and_clear();
    }
}
