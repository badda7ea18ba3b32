use report::{Figure, PageError, Table};
use serde::Serialize;

use super::figures::{self, Figures, Named};
use super::headline::study_headline;
use super::tables;
use super::view::View;
use crate::{Setting, StudyAbout, StudyResults, StudySummary};

/// What `study.html` shows.
#[derive(Serialize)]
struct Content<'a> {
    findings: Vec<String>,
    about: &'a StudyAbout,
    baseline: &'a str,
    /// The largest amount of data.
    largest: String,
    seeds: usize,
    overview: Table,
    amounts: Table,
    routing: Option<Table>,
    search: Option<Table>,
    methods: Table,
    results_figures: Vec<&'a Figure>,
    routing_figures: Vec<&'a Figure>,
    training_figures: Vec<&'a Figure>,
    settings: Vec<Setting>,
    command: &'a str,
}

/// The report of a study as one page that needs nothing else: no network, no fonts, and a script
/// that only sorts its tables.
///
/// # Errors
///
/// [`PageError`] when the page cannot be made.
pub fn study_html(results: &StudyResults) -> Result<String, PageError> {
    let summary = StudySummary::of(results);
    let view = View { results, summary: &summary };
    html(view, &figures::all(view))
}

pub(super) fn html(view: View<'_>, figures: &Figures) -> Result<String, PageError> {
    let results = view.results;
    let content = Content {
        findings: study_headline(results, view.summary),
        about: &results.about,
        baseline: &results.baseline,
        largest: report::format::count(view.largest()),
        seeds: results.seeds.len(),
        overview: tables::overview(view),
        amounts: tables::amounts(view),
        routing: tables::routing(view),
        search: tables::search(view),
        methods: tables::methods(view),
        results_figures: shown(&figures.results),
        routing_figures: shown(&figures.routing),
        training_figures: shown(&figures.training),
        settings: settings(results),
        command: &results.command,
    };
    report::render(include_str!("study.html"), &content)
}

fn shown(named: &[Named]) -> Vec<&Figure> {
    named.iter().map(|named| &named.figure).collect()
}

fn settings(results: &StudyResults) -> Vec<Setting> {
    let seeds: Vec<String> = results.seeds.iter().map(u64::to_string).collect();
    let samples: Vec<String> = results.samples.iter().map(|n| report::format::count(*n)).collect();
    let mut lines = vec![
        Setting::new("version", &results.version),
        Setting::new("seeds", seeds.join(", ")),
        Setting::new("tuning samples", samples.join(", ")),
        Setting::new("baseline", &results.baseline),
    ];
    lines.extend(results.settings.iter().cloned());
    lines
}
