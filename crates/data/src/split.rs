use rand::seq::SliceRandom;
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

use super::DataError;

/// How much to hold out: in a configuration file an integer is a count, a number with a point a
/// share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HoldOut {
    /// That many items; 0 holds out none.
    Count(usize),
    /// That share of the items, rounded up; above 0 and below 1.
    Fraction(f64),
}

/// Divides items into those to train on and those held out, `(train, held_out)`.
///
/// Which are held out is drawn with `seed`; both parts keep the order of the items. Copies of one
/// item can end up on both sides.
///
/// # Errors
/// [`DataError::Setting`] for a fraction outside (0, 1), or when nothing would be left to train on.
pub fn split<T>(
    items: Vec<T>,
    hold_out: HoldOut,
    seed: u64,
) -> Result<(Vec<T>, Vec<T>), DataError> {
    let total = items.len();
    let wrong = |found: String, allowed: String| {
        Err(DataError::Setting { key: "validation_split", found, allowed })
    };
    let count = match hold_out {
        HoldOut::Count(count) => count,
        HoldOut::Fraction(share) if share > 0.0 && share < 1.0 => {
            (share * total as f64).ceil() as usize
        }
        HoldOut::Fraction(share) => {
            return wrong(
                format!("the share {share:?}"),
                "a share above 0 and below 1, or an integer for a count".into(),
            );
        }
    };
    if count >= total {
        return wrong(
            format!("{count} of {total} samples"),
            "fewer than there are, so that some are left to train on".into(),
        );
    }
    let mut order: Vec<usize> = (0..total).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let mut held = vec![false; total];
    for &index in &order[..count] {
        held[index] = true;
    }
    let (mut train, mut held_out) = (Vec::with_capacity(total - count), Vec::with_capacity(count));
    for (item, held) in items.into_iter().zip(held) {
        if held { held_out.push(item) } else { train.push(item) }
    }
    Ok((train, held_out))
}
