/// The limits of an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineConfig {
    /// The most sequences that are continued together. Default 32.
    pub max_rows: usize,
    /// The most tokens of prompts that are read between two steps of the running rows. Default 512.
    pub prompt_tokens: usize,
    /// The most tokens whose keys and values are kept, padding and shared beginnings included.
    /// Default 65,536.
    pub cache_tokens: usize,
    /// The most requests that wait. Default 256.
    pub max_queue: usize,
    /// The longest sequence, prompt and answer. Default: what the model was trained for.
    pub max_len: Option<usize>,
    /// Whether the keys and values of prompts are kept for prompts that begin alike. Default true.
    pub share_prefixes: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_rows: 32,
            prompt_tokens: 512,
            cache_tokens: 1 << 16,
            max_queue: 256,
            max_len: None,
            share_prefixes: true,
        }
    }
}
