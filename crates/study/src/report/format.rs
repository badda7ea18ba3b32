//! One way to write each kind of number, and escaping.

const MISSING: &str = "\u{2013}";

fn fixed(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { MISSING.to_owned() }
}

/// A share between 0 and 1.
pub(super) fn share(value: f64) -> String {
    fixed(value, 2)
}

/// A share that may not have been measured.
pub(super) fn share_or_missing(value: Option<f64>) -> String {
    share(value.unwrap_or(f64::NAN))
}

/// A loss in nats.
pub(super) fn loss(value: f64) -> String {
    fixed(value, 3)
}

/// A difference, with its sign.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value.abs(), decimals);
    if !value.is_finite() {
        return text;
    }
    // What rounds to 0 has no sign.
    match text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) {
        false => text,
        true if value < 0.0 => format!("\u{2212}{text}"),
        true => format!("+{text}"),
    }
}

/// A number with so many decimals.
pub(super) fn decimal(value: f64, decimals: usize) -> String {
    fixed(value, decimals)
}

/// A duration.
pub(super) fn seconds(value: f64) -> String {
    fixed(value, 1)
}

/// A whole number with its thousands set apart.
pub(crate) fn count(value: usize) -> String {
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

/// Text for the content and the attributes of HTML and XML.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML 1.0 cannot hold other control characters in any form.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
