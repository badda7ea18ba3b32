use record_files::Row;
use serde_json::Value;

use super::functions::text;

/// The index of the right option.
pub(super) fn answer(row: &Row) -> Result<Value, String> {
    match text(row, "answer")? {
        "1" => Ok(0.into()),
        "2" => Ok(1.into()),
        other => Err(format!("column `answer` is `{other}`, not `1` or `2`")),
    }
}

/// What stands after the blank.
pub(super) fn rest(row: &Row) -> Result<Value, String> {
    let (_, after) = split(row)?;
    Ok(crate::python::strip(after).into())
}

/// What stands before the blank, with each option in its place.
pub(super) fn choices(row: &Row) -> Result<Value, String> {
    let (before, _) = split(row)?;
    let (first, second) = (text(row, "option1")?, text(row, "option2")?);
    Ok(vec![format!("{before}{first}"), format!("{before}{second}")].into())
}

fn split(row: &Row) -> Result<(&str, &str), String> {
    let sentence = text(row, "sentence")?;
    sentence.split_once('_').ok_or_else(|| "column `sentence` has no blank `_`".to_owned())
}
