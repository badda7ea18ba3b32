use serde_json::{Number, Value};

/// What a plain scalar means in YAML 1.1, as PyYAML resolves it: `yes`, `no`, `on` and `off` are
/// truth values, and `1e-3` is text because its number has no point.
///
/// Dates and numbers to base 60 stay text.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return true.into();
        }
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return false.into();
        }
        _ => {}
    }
    integer(text).map(Value::from).or_else(|| float(text)).unwrap_or_else(|| text.into())
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let plain = digits.replace('_', "");
    let (radix, plain) = if let Some(hexadecimal) = plain.strip_prefix("0x") {
        (16, hexadecimal)
    } else if let Some(binary) = plain.strip_prefix("0b") {
        (2, binary)
    } else if plain.len() > 1 && plain.starts_with('0') {
        (8, &plain[1..])
    } else {
        (10, plain.as_str())
    };
    i64::from_str_radix(plain, radix).ok().map(|value| sign * value)
}

fn float(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "+0"));
    let numeric = mantissa.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | '_'));
    if !starts || !numeric || !mantissa.contains('.') || !exponent.starts_with(['+', '-']) {
        return None;
    }
    text.replace('_', "").parse().ok().and_then(Number::from_f64).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    // The values are those of `yaml.safe_load` of PyYAML 6.
    #[test]
    fn plain_scalars_mean_what_pyyaml_says() {
        for (text, value) in [
            ("no", json!(false)),
            ("On", json!(true)),
            ("y", json!("y")),
            ("~", json!(null)),
            ("007", json!(7)),
            ("08", json!("08")),
            ("0x1F", json!(31)),
            ("-12", json!(-12)),
            ("1_000", json!(1000)),
            ("1e-3", json!("1e-3")),
            ("1.0e-3", json!(0.001)),
            ("1.", json!(1.0)),
            (".5", json!(0.5)),
            ("1.0", json!(1.0)),
            ("1.2.3", json!("1.2.3")),
            ("A", json!("A")),
            ("-", json!("-")),
            (".", json!(".")),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }
}
