use std::collections::HashSet;

use super::{Attribute, grammar, names, task};

/// Id of the padding token `<pad>`.
pub const PAD: u32 = 0;
/// Id of the token `<s>` that begins a sequence.
pub const BOS: u32 = 1;
/// Id of the token `</s>` that ends a sequence.
pub const EOS: u32 = 2;
/// Id of the token `<unk>` for words outside the vocabulary.
pub const UNK: u32 = 3;

/// The special tokens; their positions are their ids.
pub(super) const SPECIAL: [&str; 4] = ["<pad>", "<s>", "</s>", "<unk>"];

/// Every word that any set can contain, each once, special tokens first.
pub(super) fn collect() -> Vec<String> {
    let mut seen = HashSet::new();
    SPECIAL
        .into_iter()
        .chain(task::words())
        .chain(Attribute::words())
        .chain(Attribute::ALL.into_iter().flat_map(Attribute::values).copied())
        .chain(grammar::words())
        .map(str::to_owned)
        .chain(names::first_words())
        .chain(names::second_words())
        .filter(|word| seen.insert(word.clone()))
        .collect()
}
