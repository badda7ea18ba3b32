//! Tables that a reader can sort by their columns.

use crate::report::format::escape;

/// A cell: HTML, and the number by which it is sorted.
pub(super) struct Cell {
    html: String,
    key: Key,
    class: &'static str,
}

enum Key {
    Text,
    Number(f64),
    Missing,
}

impl Cell {
    pub(super) fn text(text: &str) -> Self {
        Self { html: escape(text), key: Key::Text, class: "" }
    }

    /// Text after a sign that is HTML.
    pub(super) fn signed(sign: &str, text: &str) -> Self {
        Self { html: format!("{sign}{}", escape(text)), key: Key::Text, class: "" }
    }

    /// A number and how it is written.
    pub(super) fn number(value: f64, text: &str) -> Self {
        match value.is_finite() {
            true => Self { html: escape(text), key: Key::Number(value), class: "" },
            false => Self::missing(),
        }
    }

    /// A number and how it is written, in HTML.
    pub(super) fn html(value: f64, html: String) -> Self {
        Self { html, ..Self::number(value, "") }
    }

    /// Nothing was measured.
    pub(super) fn missing() -> Self {
        Self { html: "\u{2013}".to_owned(), key: Key::Missing, class: "" }
    }

    /// Nothing was measured, for a reason.
    pub(super) fn absent(reason: &str) -> Self {
        Self { html: escape(reason), key: Key::Missing, class: "absent" }
    }

    pub(super) fn class(self, class: &'static str) -> Self {
        Self { class, ..self }
    }

    fn render(&self, tag: &str) -> String {
        let key = match self.key {
            Key::Text => String::new(),
            Key::Number(value) => format!(" data-sort=\"{value}\""),
            Key::Missing => " data-sort=\"\"".to_owned(),
        };
        let class = match self.class {
            "" => String::new(),
            class => format!(" class=\"{class}\""),
        };
        let scope = if tag == "th" { " scope=\"row\"" } else { "" };
        format!("<{tag}{scope}{class}{key}>{}</{tag}>", self.html)
    }
}

/// A table in a box of its own, within which it scrolls where the page is narrow.
pub(super) struct Table<'a> {
    pub(super) id: &'a str,
    /// What it shows, for those who do not see it.
    pub(super) label: &'a str,
    pub(super) columns: Vec<String>,
    /// Rows that stay on top.
    pub(super) fixed: Vec<Vec<Cell>>,
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Table<'_> {
    pub(super) fn render(&self) -> String {
        let columns = self.columns.iter();
        let head: String =
            columns.map(|name| format!("<th scope=\"col\">{}</th>", escape(name))).collect();
        let fixed = match self.fixed.is_empty() {
            true => String::new(),
            false => format!("<tbody class=\"fixed\">\n{}</tbody>\n", body(&self.fixed)),
        };
        let label = escape(self.label);
        format!(
            "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"{label}\">\n<table id=\"{}\" \
             class=\"results sortable\">\n<thead><tr>{head}</tr></thead>\n{fixed}<tbody>\n{}</tbody>\n</table>\n\
             </div>\n",
            self.id,
            body(&self.rows)
        )
    }
}

fn body(rows: &[Vec<Cell>]) -> String {
    let row = |cells: &Vec<Cell>| {
        let tag = |column| if column == 0 { "th" } else { "td" };
        let cells: String =
            cells.iter().enumerate().map(|(column, cell)| cell.render(tag(column))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    rows.iter().map(row).collect()
}
