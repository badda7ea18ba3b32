//! What the harness takes from Python, to the same bits and characters: its random generator, how
//! values are printed and read, its regular expressions, and what counts as white space.

mod literal;
mod random;
mod regex;
mod repr;
mod text;

pub(crate) use literal::literal;
pub use random::Random;
pub use regex::Pattern;
pub(crate) use repr::{display, repr};
pub(crate) use text::{capitalize, is_digits, is_space, strip, word_count};
