use super::{
    BASE, DemoReport,
    figures::{self, Figure, method_look},
    format::{count, escape, seconds},
    headline,
    table::{COLUMNS, cells},
};

const STYLE: &str = include_str!("style.css");

/// The report as one page that needs nothing else: no network, no scripts.
pub fn report_html(report: &DemoReport) -> String {
    let sentences = headline(report);
    let (finding, further) = sentences.split_first().map_or(("", [].as_slice()), |(f, r)| (f, r));
    let mut body = format!("<p class=\"finding\">{}</p>\n", escape(finding));
    let items: Vec<_> = further.iter().map(|text| format!("<li>{}</li>\n", escape(text))).collect();
    if !items.is_empty() {
        body.push_str(&format!("<ul class=\"further\">\n{}</ul>\n", items.concat()));
    }
    body.push_str(&table(report));
    body.push_str(&figures(&all_figures(report)));
    body.push_str(&measured(report));
    body.push_str(&settings(report));
    page("Knowledge kept while learning tasks", &body)
}

/// A page that needs nothing else; `body` is HTML.
pub(super) fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

/// The section of numbered figures.
pub(super) fn figures(figures: &[Figure]) -> String {
    let mut out = "<h2>Figures</h2>\n<div class=\"figures\">\n".to_owned();
    for (i, figure) in figures.iter().enumerate() {
        out.push_str(&show(i + 1, figure));
    }
    out + "</div>\n"
}

fn all_figures(report: &DemoReport) -> Vec<Figure> {
    let mut all = vec![figures::plane(report), figures::forgetting(report), figures::text(report)];
    all.extend(figures::routing(report));
    all.extend(figures::losses(report));
    all
}

/// A figure with its number and caption.
pub(super) fn show(number: usize, figure: &Figure) -> String {
    format!(
        "<figure>\n{}<figcaption><b>Figure {number}. {}.</b> {}</figcaption>\n</figure>\n",
        figure.canvas.inline(&figure.title),
        escape(&figure.title),
        escape(&figure.caption)
    )
}

fn table(report: &DemoReport) -> String {
    let mut out =
        "<h2>Results</h2>\n<div class=\"wide\">\n<table class=\"results\">\n<thead><tr>".to_owned();
    for name in COLUMNS {
        out.push_str(&format!("<th scope=\"col\">{name}</th>"));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let mut before = None;
    for row in cells(report) {
        let first = before.replace(row[1].clone()).is_some_and(|data| data != row[1]);
        out.push_str(if first { "<tr class=\"first\">" } else { "<tr>" });
        for (column, cell) in row.iter().enumerate() {
            let color =
                if row[0] == BASE { "currentColor" } else { method_look(report, &row[0]).0 };
            let swatch = match column {
                0 => format!("<span class=\"swatch\" style=\"background:{color}\"></span>"),
                _ => String::new(),
            };
            out.push_str(&format!("<td>{swatch}{}</td>", escape(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str(
        "</tbody>\n</table>\n</div>\n<p class=\"note\">Data: tuning samples. Parameters: those that are trained. \
         Knowledge, statements and tasks: share answered exactly, knowledge asked as questions and as statements. \
         Text loss: nats per token of general text. Seconds: the tuning alone.</p>\n",
    );
    out
}

fn measured(report: &DemoReport) -> String {
    let questions = match report.questions {
        0 => "questions".to_owned(),
        n => format!("{} questions", count(n)),
    };
    format!(
        "<h2>What was measured</h2>\n<p>A small language model is pre-trained on facts about invented entities until \
         it answers questions about them without being given the text. It is then tuned on tasks that have nothing \
         to do with the facts, with every method on the same data. Some of the tuning samples are knowledge \
         questions, but about other entities than those asked for afterwards and in another phrasing. Knowledge kept \
         is the share of {questions} about the remaining entities that the tuned model still answers exactly; tasks \
         learned is the share of task inputs, none of them in the tuning data, that it answers exactly. A method \
         that learns less also forgets less, so methods are compared at equal tasks learned. The setting follows \
         <a href=\"https://arxiv.org/abs/2312.09979\">LoRAMoE (arXiv 2312.09979)</a> in miniature.</p>\n",
    )
}

fn settings(report: &DemoReport) -> String {
    let mut out = String::new();
    if !report.command.is_empty() {
        out.push_str(&format!("<h2>Reproduce</h2>\n<pre>{}</pre>\n", escape(&report.command)));
    }
    if report.seconds > 0.0 {
        out.push_str(&format!(
            "<p class=\"note\">Took {} seconds in all.</p>\n",
            seconds(report.seconds)
        ));
    }
    if !report.settings.is_empty() {
        out.push_str("<h2>Settings</h2>\n<table class=\"settings\">\n<tbody>\n");
        for setting in &report.settings {
            let (name, value) = (escape(&setting.name), escape(&setting.value));
            out.push_str(&format!("<tr><td>{name}</td><td>{value}</td></tr>\n"));
        }
        out.push_str("</tbody>\n</table>\n");
    }
    out
}
