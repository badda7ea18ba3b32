use serde::{Deserialize, Serialize};

/// The names of columns of labelled data where they are not the usual ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelledColumns {
    /// The text, or the first of two. Usual: `sentence`, `text`, and the first of those of
    /// `text_pair`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The second text. Usual: `sentence2` after `sentence1`, `hypothesis` after `premise`,
    /// `question2` after `question1`, `sentence` after `question`, `text_pair` after `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text_pair: Option<String>,
    /// The image: a file, relative to that of the row, or its pixels as lists of numbers. Usual:
    /// `image`, `file_name`, `img`, `pixel_values`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The columns that hold one value of a pixel each, row by row: a name with `*`, as in
    /// `pixel*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pixels: Option<String>,
    /// The label. Usual: `label`, `labels`, `score`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl LabelledColumns {
    /// Whether no name is given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
