use report::{Cell, Figure, Look, PageError, Table};
use serde::Serialize;

use super::table::{COLUMNS, cells};
use super::{amounts, headline, losses, plane, routing};
use crate::demo::DemoReport;
use crate::{BASE, Setting};

/// What `demo.html` shows.
#[derive(Serialize)]
struct View<'a> {
    findings: Vec<String>,
    results: Table,
    figures: Vec<Figure>,
    /// How many questions were asked; empty where that is unknown.
    questions: String,
    command: &'a str,
    seconds: String,
    settings: &'a [Setting],
}

/// The report as one page that needs nothing else: no network, no scripts.
///
/// # Errors
///
/// [`PageError`] when the page cannot be made.
pub fn report_html(report: &DemoReport) -> Result<String, PageError> {
    let known = |known: bool, text: String| if known { text } else { String::new() };
    let view = View {
        findings: headline(report),
        results: table(report),
        figures: figures(report),
        questions: known(report.questions > 0, report::format::count(report.questions)),
        command: &report.command,
        seconds: known(report.seconds > 0.0, report::format::decimal(report.seconds, 1)),
        settings: &report.settings,
    };
    report::render(include_str!("demo.html"), &view)
}

pub(super) fn figures(report: &DemoReport) -> Vec<Figure> {
    let mut all = vec![plane::plane(report), amounts::forgetting(report), amounts::text(report)];
    all.extend(routing::routing(report));
    all.extend(losses::losses(report));
    all
}

fn table(report: &DemoReport) -> Table {
    let mut table = Table::new("results", "Results by method and amount of data", &COLUMNS);
    let mut before = None;
    for row in cells(report) {
        let look = match row[0].as_str() {
            BASE => Look::reference(),
            method => Look::of(report.place(method)),
        };
        let first = before.replace(row[1].clone()).is_some_and(|data| data != row[1]);
        let mut cells: Vec<Cell> = row.into_iter().map(Cell::text).collect();
        cells[0] = cells[0].clone().signed(look);
        table = if first { table.first_row(cells) } else { table.row(cells) };
    }
    table
}
