use std::sync::LazyLock;

use record_files::Row;

use super::functions::text;
use crate::python::{Pattern, capitalize, strip};

/// Adds `query`, `choices` and `gold`.
pub(super) fn process(mut row: Row) -> Result<Row, String> {
    let context = format!(
        "{}: {} {}",
        text(&row, "activity_label")?,
        text(&row, "ctx_a")?,
        capitalize(text(&row, "ctx_b")?)
    );
    let endings = row.get("endings").and_then(|value| value.as_array());
    let endings = endings.ok_or("column `endings` is no list")?;
    let choices: Vec<String> =
        endings.iter().filter_map(|ending| ending.as_str()).map(clean).collect();
    if choices.len() != endings.len() {
        return Err("column `endings` holds something else than texts".into());
    }
    let label = row.get("label").map(crate::python::display).unwrap_or_default();
    let gold: i64 = label.trim().parse().map_err(|_| format!("column `label` is `{label}`"))?;
    row.insert("query", clean(&context));
    row.insert("choices", choices);
    row.insert("gold", gold);
    Ok(row)
}

/// Without the marks of WikiHow.
fn clean(text: &str) -> String {
    static BRACKETS: LazyLock<Option<Pattern>> = LazyLock::new(|| Pattern::new(r"\[.*?\]").ok());
    let text = strip(text).replace(" [title]", ". ");
    let text = match &*BRACKETS {
        Some(pattern) => pattern.replace(&text, "", 0),
        None => text,
    };
    text.replace("  ", " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Reference: process_docs of the harness's hellaswag/utils.py, Python 3.11.
    #[test]
    fn a_row_becomes_query_choices_and_gold() {
        let row: Row = serde_json::from_str(
            r#"{"activity_label": "Removing ice", "ctx_a": "A man [sub] is [title] here.",
            "ctx_b": "then HE", "endings": [" goes [step] home.", "x  y"], "label": "1"}"#,
        )
        .unwrap();
        let row = process(row).unwrap();
        assert_eq!(row.get("query").unwrap(), "Removing ice: A man is. here. Then he");
        assert_eq!(row.get("choices").unwrap(), &serde_json::json!(["goes home.", "x y"]));
        assert_eq!(row.get("gold").unwrap(), 1);
        let error = process(Row::default()).unwrap_err();
        assert_eq!(error, "there is no column `activity_label`");
    }
}
