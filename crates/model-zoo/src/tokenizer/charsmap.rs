//! Sizes that a `tokenizer.json` states, for which its parser takes memory before it looks further.

use serde::Deserialize;
use serde_json::Value;

const CHARSMAP: &str = "precompiled_charsmap";

/// Whether the tries of SentencePiece's normalisation are in the file, as far as they say that they
/// go: a `precompiled_charsmap` begins with the bytes of its trie, up to 2^32, as which memory of
/// twice that is taken. An error of the JSON is one too.
pub(super) fn check_charsmaps(tokenizer: &[u8]) -> Result<(), String> {
    /// Everything else is skipped.
    #[derive(Deserialize)]
    struct Normalizing {
        #[serde(default)]
        normalizer: Value,
    }
    let Normalizing { normalizer } =
        serde_json::from_slice(tokenizer).map_err(|error| error.to_string())?;
    check(&normalizer)
}

fn check(part: &Value) -> Result<(), String> {
    match part {
        Value::Array(parts) => parts.iter().try_for_each(check),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match value.as_str() {
            Some(text) if name == CHARSMAP => match trie_len(text) {
                Some(len) if len as usize > text.len() / 4 * 3 => Err(format!(
                    "`{CHARSMAP}` says that its trie has {len} bytes, and is shorter than that itself"
                )),
                _ => Ok(()),
            },
            _ => check(value),
        }),
        _ => Ok(()),
    }
}

/// The first four bytes of a text in base64; `None` where there are not as many.
fn trie_len(base64: &str) -> Option<u32> {
    let digits: &[u8; 6] = base64.as_bytes().first_chunk()?;
    let mut bits = 0u64;
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u64::from(value);
    }
    // 36 bits, of which the last four are of the fifth byte.
    Some(((bits >> 4) as u32).swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts of twelve bytes that say that their trie has 8, and 2^31.
    const EIGHT: &str = "CAAAAAAAAAAAAAAA";
    const FAR: &str = "AAAAgAAAAAAAAAAA";

    fn normalizing(charsmap: &str) -> String {
        let part = serde_json::json!({"type": "Precompiled", CHARSMAP: charsmap});
        let normalizer = serde_json::json!({"type": "Sequence", "normalizers": [part]});
        serde_json::json!({"model": {}, "normalizer": normalizer}).to_string()
    }

    #[test]
    fn a_trie_that_is_longer_than_its_file_is_refused() {
        assert_eq!([EIGHT, FAR].map(trie_len), [Some(8), Some(1 << 31)]);
        assert_eq!(check_charsmaps(normalizing(EIGHT).as_bytes()), Ok(()));
        let error = check_charsmaps(normalizing(FAR).as_bytes()).unwrap_err();
        assert!(error.contains("its trie has 2147483648 bytes"), "{error}");
    }

    #[test]
    fn other_files_are_left_to_the_parser() {
        for text in [r#"{"normalizer":null}"#, r#"{"model":{"precompiled_charsmap":"////////"}}"#] {
            assert_eq!(check_charsmaps(text.as_bytes()), Ok(()), "{text}");
        }
        let twice = r#"{"normalizer":null,"normalizer":null}"#;
        assert!(check_charsmaps(twice.as_bytes()).is_err());
        assert_eq!(trie_len("CAAA"), None);
        assert_eq!(trie_len("C=AAAA"), None);
    }
}
