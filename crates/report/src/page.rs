use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use crate::surface::clean;
use crate::{Figure, Table};

const TEMPLATES: [(&str, &str); 6] = [
    ("page.html", include_str!("../templates/page.html")),
    ("parts.html", include_str!("../templates/parts.html")),
    ("sections.html", include_str!("../templates/sections.html")),
    ("figure.svg", include_str!("../templates/figure.svg")),
    ("style.css", include_str!("../templates/style.css")),
    ("sort.js", include_str!("../templates/sort.js")),
];

/// A template that cannot be filled with what it was given.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the page: {0:#}")]
pub struct PageError(#[from] minijinja::Error);

/// A page: a title, what was found, and sections.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// Its title.
    pub title: String,
    /// The findings in sentences, the main one first.
    pub findings: Vec<String>,
    /// What they rest on.
    pub sections: Vec<Section>,
}

/// A section of a [`Page`]: what it has is shown in the order of its fields.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    /// Its anchor.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Paragraphs.
    pub text: Vec<String>,
    /// A table.
    pub table: Option<Table>,
    /// What the table's columns mean; may be empty.
    pub note: String,
    /// Figures, which are numbered through the page.
    pub figures: Vec<Figure>,
}

impl Section {
    /// A section with nothing in it.
    pub fn new(id: &str, title: &str) -> Self {
        Self {
            id: id.to_owned(),
            title: title.to_owned(),
            text: Vec::new(),
            table: None,
            note: String::new(),
            figures: Vec::new(),
        }
    }
}

impl Page {
    /// The page as one file that needs nothing else: no network, no fonts, and no script but that
    /// which sorts tables.
    ///
    /// # Errors
    ///
    /// [`PageError`] when the page cannot be made.
    pub fn html(&self) -> Result<String, PageError> {
        render_named("sections.html", self)
    }
}

/// Fills a template of one's own, which may extend `page.html` and import from `parts.html`, with
/// the fields of `context`. What it writes is escaped.
///
/// # Errors
///
/// [`PageError`] when it is no template or asks for what it was not given.
pub fn render(template: &str, context: &impl Serialize) -> Result<String, PageError> {
    let context = Value::from(Serde(context));
    Ok(clean(&environment()?.render_named_str("own.html", template, context)?))
}

pub(crate) fn render_named(name: &str, context: &impl Serialize) -> Result<String, PageError> {
    let context = Value::from(Serde(context));
    Ok(clean(&environment()?.get_template(name)?.render(context)?))
}

fn environment() -> Result<Environment<'static>, PageError> {
    let mut environment = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true);
    environment.set_syntax(syntax.build()?);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // Those of which nothing comes from outside are included as they are.
    environment.set_auto_escape_callback(|name| match name {
        "style.css" | "sort.js" => AutoEscape::None,
        _ => AutoEscape::Html,
    });
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Axis, Cell, Chart};

    #[test]
    fn what_comes_from_outside_is_escaped_everywhere() {
        let hostile = "<i>&\"'\u{1}{{ 7 }}";
        let chart = Chart::new(Axis::places(hostile, 2), Axis::places(hostile, 2)).draw();
        let figure = Figure::new(hostile, hostile, chart);
        let table = Table::new(hostile, hostile, &[hostile]).fixed(vec![Cell::text(hostile)]);
        let cell = Cell::number(1.0, hostile).soft(hostile).class("clear");
        let page = Page {
            title: hostile.to_owned(),
            findings: vec![hostile.to_owned(); 2],
            sections: vec![Section {
                text: vec![hostile.to_owned()],
                table: Some(table.first_row(vec![Cell::text(hostile)]).row(vec![cell])),
                note: hostile.to_owned(),
                figures: vec![figure.clone()],
                ..Section::new(hostile, hostile)
            }],
        };
        for text in [page.html().unwrap(), figure.file().unwrap()] {
            assert!(
                !text.contains("<i>") && !text.contains('\u{1}') && !text.contains("&amp;amp;")
            );
            assert!(text.contains("&lt;i&gt;&amp;&quot;&#x27;\u{fffd}{{ 7 }}"), "{text}");
        }
    }

    #[test]
    fn figures_are_numbered_through_the_page_and_scripts_are_there_for_sorting_alone() {
        let figure = |title: &str| {
            let chart = Chart::new(Axis::places("", 1), Axis::places("", 1));
            Figure::new(title, "Caption.", chart.draw())
        };
        let section = |figures: Vec<Figure>| Section { figures, ..Section::new("id", "Section") };
        let sections = vec![section(vec![figure("A"), figure("B")]), section(vec![figure("C")])];
        let mut page = Page { title: String::new(), findings: Vec::new(), sections };
        let html = page.html().unwrap();
        assert!(html.contains("Figure 2. B.") && html.contains("Figure 3. C."), "{html}");
        assert!(!html.contains("<script") && !html.contains("finding\""));
        page.sections[0].table = Some(Table::new("t", "", &["a"]).sortable());
        assert!(page.html().unwrap().contains("<script>"));
    }

    #[test]
    fn a_template_that_asks_for_what_is_not_there_is_refused() {
        let error = render("{{ absent }}", &[(); 0]).unwrap_err().to_string();
        assert!(error.starts_with("cannot make the page: ") && error.contains("undefined"));
    }
}
