use model_zoo::{TextTokenizer, TokenizerError};

use super::Sample;

/// A run of a sample's tokens of one kind, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// What the tokens stand for; special tokens by their names.
    pub text: String,
    /// Whether the tokens are learned.
    pub learned: bool,
    /// Whether the tokens are special ones.
    pub special: bool,
}

impl Piece {
    /// The pieces of a sample, in order. Where a character's bytes are in tokens of two pieces, it
    /// is shown as a replacement character in both.
    ///
    /// # Errors
    /// Those of the tokenizer.
    pub fn of(sample: &Sample, tokenizer: &TextTokenizer) -> Result<Vec<Self>, TokenizerError> {
        let ids = &sample.input_ids;
        let kinds: Vec<_> = ids
            .iter()
            .zip(&sample.target_mask)
            .map(|(&id, &learned)| (learned, tokenizer.is_special(id)))
            .collect();
        let mut pieces = Vec::new();
        let mut begin = 0;
        for run in kinds.chunk_by(|one, next| one == next) {
            let end = begin + run.len();
            let (learned, special) = run[0];
            pieces.push(Self { text: text(&ids[..end], begin, tokenizer)?, learned, special });
            begin = end;
        }
        Ok(pieces)
    }
}

/// What the tokens from `begin` add to the text of those before: the first token of a text is often
/// decoded without the space before it.
fn text(ids: &[u32], begin: usize, tokenizer: &TextTokenizer) -> Result<String, TokenizerError> {
    let before = tokenizer.decode(&ids[..begin], false)?;
    let whole = tokenizer.decode(ids, false)?;
    match whole.strip_prefix(before.as_str()) {
        Some(added) => Ok(added.to_owned()),
        None => tokenizer.decode(&ids[begin..], false),
    }
}
