use record_files::Row;
use serde_json::Value;

use super::{hellaswag, wikitext, winogrande};
use crate::TaskError;
use crate::metric::MetricValue;
use crate::yaml::{Node, NodeKind, Place};

/// A function that makes text, a target or choices of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocFunction {
    /// Which of the two options is right.
    WinograndeText,
    /// What stands after the blank.
    WinograndeTarget,
    /// What stands before the blank, with each option in it.
    WinograndeChoice,
    /// A page of WikiText as people write.
    WikitextDetokenizer,
    /// Premise and hypothesis of MNLI, with the question.
    MnliText,
}

/// A function that changes all rows of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocsFunction {
    /// Adds `query`, `choices` and `gold` to the rows of HellaSwag.
    HellaSwag,
    /// Joins the lines of a file of WikiText (`text`) to pages (`page`).
    WikitextPages,
}

/// A function that makes values of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResultsFunction {
    /// Perplexities over the words and bytes of the page before it was detokenised.
    Wikitext,
}

/// The own names with what they stand for, for messages.
const KNOWN: &str = "winogrande.doc_to_text, winogrande.doc_to_target, winogrande.doc_to_choice, \
    wikitext.detokenizer, wikitext.process_results, wikitext.pages, hellaswag.process_docs, \
    mnli.doc_to_text";

impl DocFunction {
    pub(crate) fn named(name: &str, dataset: Option<&str>) -> Option<Self> {
        Some(match name {
            "preprocess_winogrande.doc_to_text" | "winogrande.doc_to_text" => Self::WinograndeText,
            "preprocess_winogrande.doc_to_target" | "winogrande.doc_to_target" => {
                Self::WinograndeTarget
            }
            "preprocess_winogrande.doc_to_choice" | "winogrande.doc_to_choice" => {
                Self::WinograndeChoice
            }
            "preprocess_wikitext.wikitext_detokenizer" | "wikitext.detokenizer" => {
                Self::WikitextDetokenizer
            }
            "mnli.doc_to_text" => Self::MnliText,
            "utils.doc_to_text" if dataset == Some("nyu-mll/glue") => Self::MnliText,
            _ => return None,
        })
    }

    /// # Errors
    /// The column that is missing or of another kind.
    pub(crate) fn apply(self, row: &Row) -> Result<Value, String> {
        match self {
            Self::WinograndeText => winogrande::answer(row),
            Self::WinograndeTarget => winogrande::rest(row),
            Self::WinograndeChoice => winogrande::choices(row),
            Self::WikitextDetokenizer => Ok(wikitext::detokenize(text(row, "page")?).into()),
            Self::MnliText => {
                let (premise, hypothesis) = (text(row, "premise")?, text(row, "hypothesis")?);
                let hypothesis = crate::python::strip(hypothesis);
                let stop = if hypothesis.ends_with('.') { "" } else { "." };
                Ok(format!(
                    "{premise}\nQuestion: {hypothesis}{stop} True, False or Neither?\nAnswer:"
                )
                .into())
            }
        }
    }
}

impl DocsFunction {
    pub(crate) fn read(node: &Node, key: &str, dataset: Option<&str>) -> Result<Self, TaskError> {
        let NodeKind::Function(name) = &node.kind else {
            return Err(node.wrong(key, "a known function, as `!function hellaswag.process_docs`"));
        };
        match name.as_str() {
            "hellaswag.process_docs" => Ok(Self::HellaSwag),
            "utils.process_docs" if matches!(dataset, Some("Rowan/hellaswag" | "hellaswag")) => {
                Ok(Self::HellaSwag)
            }
            "wikitext.pages" => Ok(Self::WikitextPages),
            _ => Err(unknown(&node.place, key, name)),
        }
    }

    /// # Errors
    /// The index of the row, and what is wrong with it.
    pub(crate) fn apply(self, rows: Vec<Row>) -> Result<Vec<Row>, (usize, String)> {
        match self {
            Self::HellaSwag => rows
                .into_iter()
                .enumerate()
                .map(|(index, row)| hellaswag::process(row).map_err(|error| (index, error)))
                .collect(),
            Self::WikitextPages => wikitext::pages(&rows),
        }
    }

    /// Whether row `i` of the result comes from row `i`.
    pub(crate) fn keeps_rows(self) -> bool {
        self != Self::WikitextPages
    }
}

impl ResultsFunction {
    pub(crate) fn read(node: &Node, key: &str, _: Option<&str>) -> Result<Self, TaskError> {
        let NodeKind::Function(name) = &node.kind else {
            return Err(
                node.wrong(key, "a known function, as `!function wikitext.process_results`")
            );
        };
        match name.as_str() {
            "preprocess_wikitext.process_results" | "wikitext.process_results" => {
                Ok(Self::Wikitext)
            }
            _ => Err(unknown(&node.place, key, name)),
        }
    }

    /// The values by metric, of the log-likelihood of the one request.
    pub(crate) fn apply(
        self,
        row: &Row,
        log_likelihood: f64,
    ) -> Result<Vec<(&'static str, MetricValue)>, String> {
        match self {
            Self::Wikitext => {
                let page = text(row, "page")?;
                let words = crate::python::word_count(page) as f64;
                let of = |weight| MetricValue::Weighted { value: log_likelihood, weight };
                Ok(vec![
                    ("word_perplexity", of(words)),
                    ("byte_perplexity", of(page.len() as f64)),
                    ("bits_per_byte", of(page.len() as f64)),
                ])
            }
        }
    }
}

/// A text column.
pub(super) fn text<'a>(row: &'a Row, column: &str) -> Result<&'a str, String> {
    let value = row.get(column).ok_or_else(|| format!("there is no column `{column}`"))?;
    value.as_str().ok_or_else(|| format!("column `{column}` is no text"))
}

/// The error of a function that is not known here.
pub(crate) fn unknown(place: &Place, key: &str, name: &str) -> TaskError {
    let instead = match key.rsplit('.').next().unwrap_or(key) {
        "doc_to_text" | "doc_to_target" | "doc_to_choice" => {
            "Write a Jinja template, such as \"{{question.strip()}}\", or the name of a column"
        }
        "process_docs" => {
            "Prepare the data once, save it as JSON Lines, and name it by dataset_path: json"
        }
        "samples" => "Write the examples as a list of mappings",
        "metric" | "aggregation" | "process_results" => {
            "Use metric_list with a known metric and filter_list to prepare the answer"
        }
        "sampler" => "Use default or first_n",
        _ => "Write a value",
    };
    TaskError::Function {
        place: place.to_string(),
        key: key.to_owned(),
        name: name.to_owned(),
        instead: format!("{instead}. The known functions are {KNOWN}"),
    }
}
