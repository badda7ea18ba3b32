/// Whether both texts are numbers that differ by at most the tolerance; commas group digits.
pub(crate) fn number_match(answer: &str, target: &str, tolerance: f64) -> bool {
    match (number(answer), number(target)) {
        (Some(answer), Some(target)) => (answer - target).abs() <= tolerance,
        _ => false,
    }
}

fn number(text: &str) -> Option<f64> {
    text.replace(',', "").trim().parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        assert!(number_match("1,018.", "1018.0", 0.001));
        assert!(number_match("0.3333", "0.333333", 0.001));
        assert!(!number_match("8", "8.5", 0.001));
        assert!(!number_match("[invalid]", "8", 0.001) && !number_match("nan", "nan", 0.001));
    }
}
