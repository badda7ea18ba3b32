/// How samples are classified. Answers do not depend on it but for `max_length`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassificationOptions {
    /// The most tokens of one pass, padding included; a longer text is a pass of its own.
    pub batch_tokens: usize,
    /// The most images of one pass.
    pub batch_images: usize,
    /// The longest text, in tokens; longer ones are cut. `None` for what the model reads.
    pub max_length: Option<usize>,
}

impl Default for ClassificationOptions {
    fn default() -> Self {
        Self { batch_tokens: 2048, batch_images: 16, max_length: None }
    }
}
