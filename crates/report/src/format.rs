//! One way to write each kind of number.

/// A number with so many decimals; a dash where it is not finite.
pub fn decimal(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "\u{2013}".to_owned() }
}

/// A share between 0 and 1.
pub fn share(value: f64) -> String {
    decimal(value, 2)
}

/// A difference, with its sign; what rounds to 0 has none.
pub fn signed(value: f64, decimals: usize) -> String {
    let text = decimal(value.abs(), decimals);
    match text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        true if value < 0.0 => format!("\u{2212}{text}"),
        true => format!("+{text}"),
        false => text,
    }
}

/// A whole number with its thousands set apart.
pub fn count(value: usize) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Items in a sentence: `a, b and c`.
pub fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    match items.as_slice() {
        [start @ .., last] if !start.is_empty() => format!("{} and {last}", start.join(", ")),
        _ => items.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_they_are_read() {
        assert_eq!([count(7), count(1200), count(1_234_567)], ["7", "1,200", "1,234,567"]);
        assert_eq!(
            [signed(-0.2, 2), signed(0.2, 1), signed(-0.001, 2)],
            ["\u{2212}0.20", "+0.2", "0.00"]
        );
        assert_eq!([share(f64::NAN), signed(f64::INFINITY, 2)], ["\u{2013}", "\u{2013}"]);
        let items = |n: usize| list(["a", "b", "c"].into_iter().take(n).map(str::to_owned));
        assert_eq!([items(0), items(1), items(2), items(3)], ["", "a", "a and b", "a, b and c"]);
    }
}
