use std::collections::HashMap;

/// Whether the answer equals one of the targets after normalisation.
pub(crate) fn squad_exact_match<'a>(answer: &str, targets: impl Iterator<Item = &'a str>) -> f64 {
    let answer = normalize(answer).join(" ");
    let mut targets = targets;
    f64::from(targets.any(|target| normalize(target).join(" ") == answer))
}

/// The largest F1 score of the answer's words with those of a target.
///
/// With `c` the words that both have, counted as often as in both, precision `p = c / |answer|`
/// and recall `r = c / |target|`, the score is `2 p r / (p + r)`; if either has no word it is 1
/// where both have none, else 0.
pub(crate) fn squad_f1<'a>(answer: &str, targets: impl Iterator<Item = &'a str>) -> f64 {
    let answer = normalize(answer);
    targets.map(|target| f1(&answer, &normalize(target))).fold(0.0, f64::max)
}

fn f1(answer: &[String], target: &[String]) -> f64 {
    if answer.is_empty() || target.is_empty() {
        return f64::from(answer.is_empty() && target.is_empty());
    }
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in target {
        *left.entry(word).or_default() += 1;
    }
    let mut common = 0;
    for word in answer {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    if common == 0 {
        return 0.0;
    }
    let precision = f64::from(common) / answer.len() as f64;
    let recall = f64::from(common) / target.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

/// Lower case, without punctuation and the words a, an and the.
///
/// Source: the evaluation script of SQuAD 1.1, Rajpurkar et al. 2016.
fn normalize(text: &str) -> Vec<String> {
    let mut text = text.to_lowercase();
    text.retain(|character| !character.is_ascii_punctuation());
    // The articles are words between any two boundaries, so they are looked for in runs of letters.
    let mut words = Vec::new();
    for part in text.split_whitespace() {
        let mut kept = String::new();
        let mut run = String::new();
        for character in part.chars().chain(std::iter::once(' ')) {
            if character.is_alphanumeric() || character == '_' {
                run.push(character);
                continue;
            }
            if matches!(run.as_str(), "a" | "an" | "the") {
                kept.push(' ')
            } else {
                kept += &run
            }
            run.clear();
            kept.push(character);
        }
        words.extend(kept.split_whitespace().map(str::to_owned));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    // Reference: f1_score and exact_match_score of SQuAD's evaluate-v1.1.py.
    #[test]
    fn scores_are_those_of_squad() {
        let targets = || ["The Eiffel Tower", "la tour Eiffel"].into_iter();
        assert_eq!(squad_exact_match("eiffel tower!", targets()), 1.0);
        assert_eq!(squad_exact_match("eiffel", targets()), 0.0);
        assert!((squad_f1("the tall tower", targets()) - 0.5).abs() < 1e-12);
        assert!((squad_f1("tower tower tower eiffel", targets()) - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(squad_f1("", ["the"].into_iter()), 1.0);
        assert_eq!(squad_f1("x", ["y"].into_iter()), 0.0);
    }

    #[test]
    fn hyphens_join_words_and_articles_go() {
        assert_eq!(normalize("A well-known  Theatre, the end"), ["wellknown", "theatre", "end"]);
    }
}
