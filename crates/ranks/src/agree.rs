use crate::{Ranks, RanksError};

/// The most characters of a value that an error shows.
const SHOWN: usize = 80;

/// Refuses ranks that differ in a property, each given with its name; all of them find out.
///
/// # Errors
///
/// [`RanksError::Differs`] naming the first rank and the first property that differs.
pub fn agree(ranks: &dyn Ranks, properties: &[(&str, String)]) -> Result<(), RanksError> {
    let mut bytes = Vec::new();
    for (name, value) in properties {
        for text in [name, value.as_str()] {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
    }
    let all = ranks.gather(&bytes)?;
    let read: Vec<_> = all.iter().map(|bytes| texts(bytes)).collect();
    for (rank, texts) in read.iter().enumerate() {
        for (at, expected) in read[0].iter().enumerate() {
            let found = texts.get(at);
            if found == Some(expected) {
                continue;
            }
            let what = if at % 2 == 1 { read[0][at - 1].clone() } else { "a property".to_owned() };
            let found = found.map_or("nothing".to_owned(), |found| shown(found, expected));
            let expected =
                texts.get(at).map_or_else(|| shown(expected, ""), |other| shown(expected, other));
            return Err(RanksError::Differs { rank, what, found, expected });
        }
    }
    Ok(())
}

/// Texts, each after its length.
fn texts(mut bytes: &[u8]) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<8>() {
        let length = (u64::from_le_bytes(*length) as usize).min(rest.len());
        let (text, rest) = rest.split_at(length);
        texts.push(String::from_utf8_lossy(text).into_owned());
        bytes = rest;
    }
    texts
}

/// A value, or what surrounds the place where a long one begins to differ from another.
fn shown(value: &str, other: &str) -> String {
    if value.chars().count() <= SHOWN {
        return value.to_owned();
    }
    let same = value.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN / 2);
    let part: String = value.chars().skip(from).take(SHOWN).collect();
    format!("…{part}…")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Alone, ThreadRanks};

    #[test]
    fn the_rank_and_the_property_that_differ_are_named_on_every_rank() {
        agree(&Alone, &[("the seed", "1".into())]).expect("one agrees with itself");
        let errors = ThreadRanks::run(3, Duration::from_secs(60), |ranks| {
            let seed = if ranks.rank() == 2 { "2" } else { "1" };
            agree(&ranks, &[("the data", "x".into()), ("the seed", seed.into())])
                .expect_err("one differs")
                .to_string()
        });
        let expected = "rank 2 has 2 as the seed, but rank 0 has 1; all ranks need the same";
        assert_eq!(errors, [expected; 3]);
    }

    #[test]
    fn long_values_are_shown_where_they_differ() {
        let (one, other) = (format!("{}b{}", "a".repeat(500), "c".repeat(500)), "a".repeat(600));
        let shown = shown(&one, &other);
        assert!(shown.contains("aabcc") && shown.chars().count() <= SHOWN + 2, "{shown}");
    }
}
