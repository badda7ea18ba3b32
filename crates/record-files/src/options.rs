use crate::FileForm;

/// How a file is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The form of the file; otherwise extension and content tell.
    pub form: Option<FileForm>,
    /// The key of a JSON object that holds the list of rows.
    pub field: Option<String>,
    /// What a row of a text file is.
    pub sample_by: SampleBy,
    /// What separates the values of a table; otherwise a tab in `.tsv`, a comma elsewhere.
    pub delimiter: Option<u8>,
    /// The names of a table's columns, where its first line is a row already.
    pub column_names: Option<Vec<String>>,
    /// Whether a table without names for its columns begins with a row; they are named `0`, `1` …
    pub headerless: bool,
    /// Whether all values of a table are text, also where a whole column is numbers.
    pub untyped: bool,
    /// Whether quotation marks in a table are text like any other.
    pub no_quoting: bool,
}

/// What a row of a text file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SampleBy {
    /// Each line, blank ones too, without its end.
    #[default]
    Line,
    /// What stands between blank lines.
    Paragraph,
    /// The whole file.
    Document,
}
