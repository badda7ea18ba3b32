use std::path::Path;

use anyhow::{Context, Result, bail};
use lora_moe::data::Target;
use lora_moe::finetune::run::{Prediction, Predictions};
use lora_moe::model_zoo::ProblemType;
use lora_moe::moe_adapter::write_atomically;
use serde_json::{Map, Value, json};

/// How predictions are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Jsonl,
    Csv,
}

impl Form {
    /// The form that the name of a file stands for.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("jsonl") => Ok(Self::Jsonl),
            Some("csv") => Ok(Self::Csv),
            _ => bail!("--output is {}, but must end in .jsonl or .csv", path.display()),
        }
    }

    /// Writes all predictions at once.
    pub fn write(self, predictions: &Predictions, path: &Path) -> Result<()> {
        let text = match self {
            Self::Jsonl => jsonl(predictions),
            Self::Csv => csv(predictions),
        };
        write_atomically(path, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn jsonl(predictions: &Predictions) -> String {
    let lines = predictions.rows.iter().map(|row| {
        let mut line = Map::new();
        line.insert("file".into(), json!(row.origin.file.display().to_string()));
        line.insert("row".into(), json!(row.origin.row));
        line.insert("label".into(), answer(predictions, &row.answer));
        line.insert("scores".into(), scores(predictions, row));
        if let Some(gold) = &row.gold {
            line.insert("gold".into(), answer(predictions, gold));
        }
        format!("{}\n", Value::Object(line))
    });
    lines.collect()
}

/// An answer: the name of a class, a list of names, or a number.
fn answer(predictions: &Predictions, target: &Target) -> Value {
    let names = predictions.labels.named(target);
    match target {
        Target::Class(_) => json!(names.first()),
        Target::Classes(_) => json!(names),
        Target::Value(value) => json!(value),
    }
}

/// The scores by label; of a regression the number.
fn scores(predictions: &Predictions, row: &Prediction) -> Value {
    match predictions.labels.problem {
        ProblemType::Regression => json!(row.scores),
        _ => {
            let named = predictions.labels.names.iter().zip(&row.scores);
            named.map(|(name, score)| (name.clone(), json!(score))).collect::<Map<_, _>>().into()
        }
    }
}

fn csv(predictions: &Predictions) -> String {
    let gold = predictions.rows.iter().any(|row| row.gold.is_some());
    let mut header = vec!["file".to_owned(), "row".into(), "label".into()];
    header.extend(gold.then(|| "gold".into()));
    header.extend(match predictions.labels.problem {
        ProblemType::Regression => Vec::new(),
        _ => predictions.labels.names.iter().map(|name| format!("score_{name}")).collect(),
    });
    let mut text = line(&header);
    for row in &predictions.rows {
        let named = |target: &Target| predictions.labels.named(target).join(",");
        let origin = &row.origin;
        let mut cells = vec![origin.file.display().to_string(), origin.row.to_string()];
        cells.push(named(&row.answer));
        cells.extend(gold.then(|| row.gold.as_ref().map(named).unwrap_or_default()));
        if predictions.labels.problem != ProblemType::Regression {
            cells.extend(row.scores.iter().map(f64::to_string));
        }
        text += &line(&cells);
    }
    text
}

fn line(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        let cells = ["a", "b,c", "say \"x\"", ""].map(str::to_owned);
        assert_eq!(line(&cells), "a,\"b,c\",\"say \"\"x\"\"\",\n");
    }

    #[test]
    fn other_names_than_jsonl_and_csv_are_refused() {
        assert_eq!(Form::of(Path::new("a/b.jsonl")).unwrap(), Form::Jsonl);
        let error = Form::of(Path::new("b.txt")).unwrap_err().to_string();
        assert!(error.contains("b.txt") && error.contains(".jsonl or .csv"), "{error}");
    }
}
