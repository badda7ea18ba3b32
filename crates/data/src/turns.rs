use serde::{Deserialize, Serialize};

/// How conversations are learned: `[data.chat]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// Which turns of the assistant are targets. Default: all.
    pub train_on: TrainOn,
}

/// Which turns of the assistant are targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainOn {
    /// All of them, in one sample.
    #[default]
    AllTurns,
    /// The last one.
    LastTurn,
    /// Each in a sample of its own, that ends with it. What a template makes of earlier turns, as
    /// leaving out what the model thought, is then as at generation.
    EachTurn,
}
