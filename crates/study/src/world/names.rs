use rand::{Rng, seq::index};

const ONSETS: [&str; 8] = ["B", "D", "F", "G", "K", "L", "M", "N"];
const RIMES: [&str; 5] = ["al", "en", "ir", "or", "un"];
const MIDDLES: [&str; 8] = ["br", "dr", "k", "l", "m", "r", "t", "v"];
const ENDINGS: [&str; 5] = ["ax", "eth", "io", "osk", "une"];

fn combine(starts: &[&str], ends: &[&str]) -> Vec<String> {
    starts.iter().flat_map(|start| ends.iter().map(move |end| format!("{start}{end}"))).collect()
}

/// First words of the names.
pub(super) fn first_words() -> Vec<String> {
    combine(&ONSETS, &RIMES)
}

/// Second words of the names.
pub(super) fn second_words() -> Vec<String> {
    combine(&MIDDLES, &ENDINGS)
}

/// How many different names there are.
pub(super) fn capacity() -> usize {
    ONSETS.len() * RIMES.len() * MIDDLES.len() * ENDINGS.len()
}

/// Draws `n` different names of two words; `n` is at most [`capacity`].
pub(super) fn draw(n: usize, rng: &mut impl Rng) -> Vec<String> {
    let (first, second) = (first_words(), second_words());
    index::sample(rng, capacity(), n)
        .iter()
        .map(|i| format!("{} {}", first[i / second.len()], second[i % second.len()]))
        .collect()
}
