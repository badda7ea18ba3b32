use serde::Serialize;

use crate::Look;

/// A cell: what it says, and by what its column is sorted.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cell {
    text: String,
    /// Said more softly after the text.
    soft: String,
    /// A sign before the text, as SVG.
    sign: String,
    class: &'static str,
    /// The number by which it is sorted: nothing for text, empty where nothing was measured.
    sort: Option<String>,
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A number and how it is written; a dash where it is not finite.
    pub fn number(value: f64, text: impl Into<String>) -> Self {
        match value.is_finite() {
            true => Self { sort: Some(value.to_string()), ..Self::text(text) },
            false => Self::missing(),
        }
    }

    /// Nothing was measured.
    pub fn missing() -> Self {
        Self { sort: Some(String::new()), ..Self::text("\u{2013}") }
    }

    /// Nothing was measured, for a reason.
    pub fn absent(reason: &str) -> Self {
        Self { class: "absent", ..Self { sort: Some(String::new()), ..Self::text(reason) } }
    }

    /// With more, said softly.
    pub fn soft(self, soft: impl Into<String>) -> Self {
        Self { soft: soft.into(), ..self }
    }

    /// With the sign of a series.
    pub fn signed(self, look: Look) -> Self {
        Self { sign: look.sign(), ..self }
    }

    /// With a class of the style sheet: `absent`, `unclear`, `clear` or `words`.
    pub fn class(self, class: &'static str) -> Self {
        Self { class, ..self }
    }
}

/// A row of a table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    cells: Vec<Cell>,
    /// Whether a line stands above it.
    first: bool,
}

/// A table in a box of its own, within which it scrolls where the page is narrow.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    id: String,
    label: String,
    columns: Vec<String>,
    fixed: Vec<Row>,
    rows: Vec<Row>,
    sortable: bool,
}

impl Table {
    /// A table without rows; `label` says what it shows for those who do not see it.
    pub fn new(id: &str, label: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let (id, label) = (id.to_owned(), label.to_owned());
        Self { id, label, columns, fixed: Vec::new(), rows: Vec::new(), sortable: false }
    }

    /// Lets a reader sort it by a click on the name of a column. Pages with such tables have a
    /// script.
    pub fn sortable(self) -> Self {
        Self { sortable: true, ..self }
    }

    /// Adds a row.
    pub fn row(mut self, cells: Vec<Cell>) -> Self {
        self.rows.push(Row { cells, first: false });
        self
    }

    /// Adds a row with a line above it.
    pub fn first_row(mut self, cells: Vec<Cell>) -> Self {
        self.rows.push(Row { cells, first: true });
        self
    }

    /// Adds a row that stays on top.
    pub fn fixed(mut self, cells: Vec<Cell>) -> Self {
        self.fixed.push(Row { cells, first: false });
        self
    }

    /// Adds rows.
    pub fn rows(mut self, rows: impl IntoIterator<Item = Vec<Cell>>) -> Self {
        self.rows.extend(rows.into_iter().map(|cells| Row { cells, first: false }));
        self
    }

    /// The table; `None` where it has no rows.
    pub fn filled(self) -> Option<Self> {
        (!self.rows.is_empty()).then_some(self)
    }
}
