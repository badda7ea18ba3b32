use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Exchange, ExchangeKind, OTHER};

/// The letters that tasks work on, in their order.
pub const ALPHABET: [&str; 16] =
    ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
/// Their capitals.
const CAPITALS: [&str; 16] =
    ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L", "M", "N", "O", "P"];

/// One input in this many is kept for evaluation.
const RESERVED: u64 = 8;

/// A task on three or four letters, such as `reverse : a f k -> k f a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The letters as they are.
    Copy,
    /// From the last to the first.
    Reverse,
    /// In the order of the alphabet.
    Sort,
    /// Each replaced by its successor, the last of the alphabet by the first.
    Next,
    /// The first and the last exchanged.
    Swap,
    /// The first alone.
    First,
    /// The last alone.
    Last,
    /// As capitals.
    Upper,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 8] = [
        Self::Copy,
        Self::Reverse,
        Self::Sort,
        Self::Next,
        Self::Swap,
        Self::First,
        Self::Last,
        Self::Upper,
    ];

    /// The word that asks for the task.
    pub fn name(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Reverse => "reverse",
            Self::Sort => "sort",
            Self::Next => "next",
            Self::Swap => "swap",
            Self::First => "first",
            Self::Last => "last",
            Self::Upper => "upper",
        }
    }

    /// The right answer for letters given by their position in [`ALPHABET`].
    pub fn answer(self, letters: &[usize]) -> String {
        let mut result = letters.to_vec();
        match self {
            Self::Copy => {}
            Self::Reverse => result.reverse(),
            Self::Sort => result.sort_unstable(),
            Self::Next => result.iter_mut().for_each(|i| *i = (*i + 1) % ALPHABET.len()),
            Self::Swap => {
                if let Some(last) = result.len().checked_sub(1) {
                    result.swap(0, last);
                }
            }
            Self::First => result.truncate(1),
            Self::Last => drop(result.drain(..result.len().saturating_sub(1))),
            Self::Upper => return spell(&CAPITALS, &result),
        }
        spell(&ALPHABET, &result)
    }

    /// The task on given letters.
    pub fn exchange(self, letters: &[usize]) -> Exchange {
        Exchange {
            prompt: format!("{} : {} ->", self.name(), spell(&ALPHABET, letters)),
            answer: self.answer(letters),
            task_type: OTHER,
            kind: ExchangeKind::Task(self),
        }
    }

    /// Draws letters, either among the inputs kept for evaluation or among all others.
    pub(super) fn draw(self, evaluation: bool, rng: &mut impl Rng) -> Exchange {
        loop {
            let length = rng.random_range(3..=4);
            let letters: Vec<usize> =
                (0..length).map(|_| rng.random_range(0..ALPHABET.len())).collect();
            if self.is_reserved(&letters) == evaluation {
                return self.exchange(&letters);
            }
        }
    }

    /// Decides by a hash of the input, so that tuning and evaluation are disjoint however many are
    /// drawn.
    fn is_reserved(self, letters: &[usize]) -> bool {
        let parts = std::iter::once(self as usize).chain(letters.iter().copied());
        // FNV-1a, then mixed, because its bits depend little on so few parts.
        let hash = parts.fold(0xcbf2_9ce4_8422_2325_u64, |hash, part| {
            (hash ^ part as u64).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed >> 32).is_multiple_of(RESERVED)
    }
}

/// What pre-training shows of letters, in either case: a run of the alphabet, or a few letters and
/// then the same again, so that the model can look back when it is tuned.
pub(super) fn run_of_letters(rng: &mut impl Rng) -> String {
    let case = if rng.random_bool(0.5) { &ALPHABET } else { &CAPITALS };
    if rng.random_bool(0.5) {
        let start = rng.random_range(0..case.len());
        let run: Vec<usize> =
            (0..rng.random_range(4..=8)).map(|i| (start + i) % case.len()).collect();
        format!("alphabet : {}", spell(case, &run))
    } else {
        let letters: Vec<usize> =
            (0..rng.random_range(3..=5)).map(|_| rng.random_range(0..case.len())).collect();
        let letters = spell(case, &letters);
        format!("echo : {letters} : {letters}")
    }
}

/// Every word of tasks and runs of letters.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    Task::ALL
        .into_iter()
        .map(Task::name)
        .chain(["alphabet", "echo", ":", "->"])
        .chain(ALPHABET)
        .chain(CAPITALS)
}

fn spell(case: &[&str; ALPHABET.len()], letters: &[usize]) -> String {
    letters.iter().map(|&i| case[i]).collect::<Vec<_>>().join(" ")
}
