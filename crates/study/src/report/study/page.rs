use super::{
    figures::{self, Figures, Named},
    headline::study_headline,
    tables,
    view::View,
};
use crate::report::{
    format::{count, escape},
    html::{page, show},
};
use crate::{StudyResults, StudySummary};

const SCRIPT: &str = include_str!("sort.js");

/// The report of a study as one page that needs nothing else: no network, no fonts, and a script
/// that only sorts its tables.
pub fn study_html(results: &StudyResults) -> String {
    let summary = StudySummary::of(results);
    let view = View { results, summary: &summary };
    html(view, &figures::all(view))
}

pub(super) fn html(view: View<'_>, figures: &Figures) -> String {
    let mut number = 0;
    let mut body = first(view);
    body.push_str(&section("figures", "Figures", "", &shown(&figures.results, &mut number)));
    let note = "<p class=\"note\">Kept / untuned: knowledge over that of the base model of the same seed. \u{394} text \
                loss: the change from that base model. \u{394} knowledge and \u{394} tasks: as above, at equal \
                data.</p>\n";
    body.push_str(&section("all-amounts", "All amounts of data", &tables::amounts(view), note));
    let note = "<p class=\"note\">Entropy: of the weights of the experts, 1 where all weigh the same. Largest share: of \
                an expert at any router. Dead experts: those that hardly any token uses. Specialisation: how much the \
                expert tells of the kind of text, in nats. Identity: the share of experts that leave the model as it \
                is.</p>\n";
    let table = tables::routing(view);
    if !table.is_empty() {
        let shown = shown(&figures.routing, &mut number);
        let table = format!("{table}{note}");
        body.push_str(&section("experts", "How the experts are used", &table, &shown));
    }
    if !figures.training.is_empty() {
        let shown = shown(&figures.training, &mut number);
        body.push_str(&section("training", "Training", "", &shown));
    }
    let table = tables::search(view);
    if !table.is_empty() {
        let note = "<p class=\"note\">Measured on the validation half, on which nothing else is reported. Score: the \
                    mean of knowledge and tasks.</p>\n";
        body.push_str(&section("rates", "Search of learning rates", &table, note));
    }
    let note = "<p class=\"note\">\u{394} parameters: against the baseline; faint where the rank was not solved for \
                equal parameters. Tokens/s and memory: each method by itself on random tokens.</p>\n";
    body.push_str(&section("all-methods", "Methods", &tables::methods(view), note));
    body.push_str(&section("measured", "What was measured", "", &measured(view)));
    body.push_str(&section("reproduce", "Settings", "", &settings(view)));
    body.push_str(&format!("<script>\n{SCRIPT}</script>\n"));
    page("Fine-tuning methods compared: knowledge kept while learning tasks", &body)
}

/// What a reader understands in a minute.
fn first(view: View<'_>) -> String {
    let sentences = study_headline(view.results, view.summary);
    let mut out = String::new();
    for (i, sentence) in sentences.iter().enumerate() {
        let text = escape(sentence);
        out.push_str(&match i {
            0 => format!("<p class=\"finding\">{text}</p>\n<ul class=\"further\">\n"),
            _ => format!("<li>{text}</li>\n"),
        });
    }
    out.push_str("</ul>\n");
    let seeds = match view.results.seeds.len() {
        1 => "one seed, which gives no interval".to_owned(),
        n => format!("means over {n} seeds \u{b1} half of the 95 % interval"),
    };
    let baseline = escape(&view.results.baseline);
    let caption = format!(
        "<p class=\"note\">After {} tuning samples; {seeds}. {} \u{394}: \
         difference from {baseline}, paired by seed, \u{b1} half of its interval; \u{25b2} and \u{25bc} where the interval leaves \
         out zero. Score: the mean of knowledge and tasks. Front: no method at any amount of data is better in \
         both. Tokens/s: in training. Columns sort by a click on their names.</p>\n",
        count(view.largest()),
        escape(&view.results.about.measures)
    );
    out.push_str(&section("results", "Results", &tables::overview(view), &caption));
    out
}

fn section(id: &str, title: &str, table: &str, rest: &str) -> String {
    format!("<section id=\"{id}\">\n<h2>{title}</h2>\n{table}{rest}</section>\n")
}

fn shown(figures: &[Named], number: &mut usize) -> String {
    let mut out = "<div class=\"figures\">\n".to_owned();
    for named in figures {
        *number += 1;
        out.push_str(&show(*number, &named.figure));
    }
    out.push_str("</div>\n");
    out
}

fn measured(view: View<'_>) -> String {
    format!(
        "<p>{} {} A method that learns less also forgets less: knowledge alone says little, so look at both, or at \
         the comparison at equal tasks learned, for which each run\u{2019}s curve over the amounts of data is taken as \
         straight from the untuned model on.</p>\n\
         <p>Intervals are 95 % confidence intervals of the mean over seeds, after Student\u{2019}s t. Differences from \
         {} are paired: the methods share what a seed decides. Intervals are not \
         corrected for the number of methods: of twenty methods equal to the baseline, one will seem to differ. Runs \
         that diverged are counted, and means are over the others: n says how many where those are not all. A run \
         diverges where its training loss becomes no number, or where it leaves a ruined model: one whose loss on \
         held-out text is above the base model\u{2019}s by more than the threshold in the settings, and that does the \
         tasks no better than the base model by 0.05.</p>\n",
        escape(&view.results.about.setting),
        escape(&view.results.about.measures),
        escape(&view.results.baseline)
    )
}

fn settings(view: View<'_>) -> String {
    let results = view.results;
    let list = |items: Vec<String>| items.join(", ");
    let mut lines = vec![
        ("version".to_owned(), results.version.clone()),
        ("seeds".to_owned(), list(results.seeds.iter().map(u64::to_string).collect())),
        ("tuning samples".to_owned(), list(results.samples.iter().map(|n| count(*n)).collect())),
        ("baseline".to_owned(), results.baseline.clone()),
    ];
    lines.extend(results.settings.iter().map(|s| (s.name.clone(), s.value.clone())));
    let lines: String = lines
        .iter()
        .map(|(name, value)| {
            format!("<tr><td>{}</td><td>{}</td></tr>\n", escape(name), escape(value))
        })
        .collect();
    format!(
        "<div class=\"wide\">\n<table class=\"settings\">\n<tbody>\n{lines}</tbody>\n</table>\n</div>\n<p>This repeats \
         the study:</p>\n<pre>{}</pre>\n<p class=\"note\">Every number is also in results.json (as measured), \
         summary.json and the CSV files beside this page, every figure in the folder figures.</p>\n",
        escape(&results.command)
    )
}
