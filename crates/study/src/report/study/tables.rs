//! The tables of a study's page.

use super::{
    table::{Cell, Table},
    view::View,
};
use crate::report::format::{count, decimal, signed};
use crate::{CellSummary, Estimate, MethodResults, Metric, MetricSummary};

fn decimals(metric: Metric) -> usize {
    match metric {
        Metric::TextLoss | Metric::TextLossChange | Metric::Specialisation => 3,
        _ => 2,
    }
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn name(view: View<'_>, method: &str) -> Cell {
    Cell::signed(&view.sign(method), method)
}

/// A mean, its interval, and of how many seeds where those are not all.
fn mean(view: View<'_>, metric: Metric, estimate: Option<&Estimate>) -> Cell {
    let Some(estimate) = estimate else {
        return Cell::missing();
    };
    let places = decimals(metric);
    let value = match metric {
        Metric::TextLossChange => signed(estimate.mean, places),
        _ => decimal(estimate.mean, places),
    };
    let half = estimate.half_width.map(|half| format!("\u{b1} {}", decimal(half, places)));
    let n = (estimate.n != view.results.seeds.len() || estimate.n == 1)
        .then(|| format!("n = {}", estimate.n));
    let rest: Vec<String> = half.into_iter().chain(n).collect();
    let html = format!("{value} <span class=\"soft\">{}</span>", rest.join(", "));
    Cell::html(estimate.mean, html)
}

/// A metric of a cell; that all runs diverged is said rather than left blank.
fn measured(view: View<'_>, cell: &CellSummary, metric: Metric) -> Cell {
    match cell.get(metric) {
        None if cell.metrics.is_empty() => Cell::absent("diverged"),
        own => mean(view, metric, own.map(|own| &own.estimate)),
    }
}

/// A difference from the baseline: in full strength where it is one.
fn against(view: View<'_>, cell: &CellSummary, metric: Metric) -> Cell {
    if cell.method == view.results.baseline {
        return Cell::absent("baseline");
    }
    let Some(MetricSummary { difference: Some(estimate), .. }) = cell.get(metric) else {
        return Cell::missing();
    };
    let places = decimals(metric);
    let value = signed(estimate.mean, places);
    let interval = match estimate.half_width {
        Some(half) => format!("\u{b1} {}", decimal(half, places)),
        None => "one seed".to_owned(),
    };
    let (sign, class) = match estimate.sign() {
        Some(true) => ("\u{25b2} ", "clear"),
        Some(false) => ("\u{25bc} ", "clear"),
        None => ("", "unclear"),
    };
    let html = format!("{sign}{value} <span class=\"soft\">{interval}</span>");
    Cell::html(estimate.mean, html).class(class)
}

fn diverged(cell: &CellSummary) -> Cell {
    let n = cell.diverged.len();
    let text = format!("{n} of {}", cell.runs);
    Cell::number(n as f64, &text).class(if n > 0 { "absent" } else { "" })
}

fn front(cell: &CellSummary) -> Cell {
    match cell.front {
        true => Cell::html(1.0, "<span title=\"on the front\">\u{25cf}</span>".to_owned()),
        false => Cell::html(0.0, String::new()),
    }
}

fn untuned(view: View<'_>, metrics: &[Option<Metric>]) -> Vec<Cell> {
    let cells = metrics.iter().map(|metric| match metric {
        Some(metric) => mean(view, *metric, view.summary.base(*metric)),
        None => Cell::absent(""),
    });
    std::iter::once(Cell::text("untuned")).chain(cells).collect()
}

/// What a reader wants to know first: the methods on the largest amount of data.
pub(super) fn overview(view: View<'_>) -> String {
    let methods = view.results.methods.iter();
    let rows = methods.filter_map(|method| {
        let cell = view.last(&method.name)?;
        let cost = method.cost.as_ref();
        Some(vec![
            name(view, &method.name),
            measured(view, cell, Metric::Knowledge),
            against(view, cell, Metric::Knowledge),
            measured(view, cell, Metric::Tasks),
            against(view, cell, Metric::Tasks),
            measured(view, cell, Metric::Score),
            front(cell),
            cost.map_or_else(Cell::missing, |cost| {
                let speed = cost.train_tokens_per_s;
                Cell::number(speed, &count(speed.max(0.0).round() as usize))
            }),
            Cell::number(method.trainable_parameters as f64, &count(method.trainable_parameters)),
            diverged(cell),
        ])
    });
    let (knowledge, tasks) = (Some(Metric::Knowledge), Some(Metric::Tasks));
    let base = [knowledge, None, tasks, None, Some(Metric::Score), None, None, None, None];
    Table {
        id: "overview",
        label: "Results on the largest amount of data",
        columns: columns(&[
            "method",
            "knowledge",
            "\u{394} knowledge",
            "tasks",
            "\u{394} tasks",
            "score",
            "front",
            "tokens/s",
            "parameters",
            "diverged",
        ]),
        fixed: vec![untuned(view, &base)],
        rows: rows.collect(),
    }
    .render()
}

/// All amounts of data.
pub(super) fn amounts(view: View<'_>) -> String {
    let metrics = [
        Metric::Knowledge,
        Metric::RelativeKnowledge,
        Metric::Tasks,
        Metric::TextLoss,
        Metric::TextLossChange,
    ];
    let rows = view.summary.cells.iter().map(|cell| {
        let mut row =
            vec![name(view, &cell.method), Cell::number(cell.samples as f64, &count(cell.samples))];
        row.extend(metrics.map(|metric| measured(view, cell, metric)));
        row.extend([Metric::Knowledge, Metric::Tasks].map(|metric| against(view, cell, metric)));
        row.extend([front(cell), diverged(cell)]);
        row
    });
    let mut base = vec![None];
    base.extend([metrics[0], metrics[2], metrics[3]].map(Some));
    base.insert(2, None);
    base.resize(columns_of_amounts().len() - 1, None);
    Table {
        id: "amounts",
        label: "Results on all amounts of data",
        columns: columns_of_amounts(),
        fixed: vec![untuned(view, &base)],
        rows: rows.collect(),
    }
    .render()
}

fn columns_of_amounts() -> Vec<String> {
    columns(&[
        "method",
        "samples",
        "knowledge",
        "kept / untuned",
        "tasks",
        "text loss",
        "\u{394} text loss",
        "\u{394} knowledge",
        "\u{394} tasks",
        "front",
        "diverged",
    ])
}

/// How the mixtures route; empty where none does.
pub(super) fn routing(view: View<'_>) -> String {
    let routed = view.summary.cells.iter().filter(|cell| cell.get(Metric::Entropy).is_some());
    let rows: Vec<_> = routed
        .map(|cell| {
            let mut row = vec![
                name(view, &cell.method),
                Cell::number(cell.samples as f64, &count(cell.samples)),
            ];
            let metrics = [
                Metric::Entropy,
                Metric::LargestShare,
                Metric::DeadExperts,
                Metric::Specialisation,
                Metric::IdentityOnTasks,
                Metric::IdentityOnText,
            ];
            row.extend(metrics.map(|metric| measured(view, cell, metric)));
            row
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    Table {
        id: "routing",
        label: "How the mixtures route",
        columns: columns(&[
            "method",
            "samples",
            "entropy",
            "largest share",
            "dead experts",
            "specialisation",
            "identity, tasks",
            "identity, text",
        ]),
        fixed: Vec::new(),
        rows,
    }
    .render()
}

/// The search of learning rates; empty where none was made.
pub(super) fn search(view: View<'_>) -> String {
    let points = view
        .results
        .methods
        .iter()
        .flat_map(|method| method.search.iter().map(move |point| (method, point)));
    let rows: Vec<_> = points
        .map(|(method, point)| {
            let share = |value: f64| match point.diverged {
                true => Cell::absent("diverged"),
                false => Cell::number(value, &decimal(value, 2)),
            };
            let rate = format!("{:e}", point.learning_rate);
            let chosen = point.learning_rate == method.learning_rate;
            vec![
                name(view, &method.name),
                Cell::number(point.learning_rate, &rate),
                share(point.knowledge),
                share(point.tasks),
                share((point.knowledge + point.tasks) / 2.0),
                Cell::html(f64::from(u8::from(chosen)), chosen_mark(chosen)),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    Table {
        id: "search",
        label: "Learning rates tried",
        columns: columns(&["method", "learning rate", "knowledge", "tasks", "score", "chosen"]),
        fixed: Vec::new(),
        rows,
    }
    .render()
}

fn chosen_mark(chosen: bool) -> String {
    if chosen { "<span title=\"chosen\">\u{25cf}</span>".to_owned() } else { String::new() }
}

/// By how much the trainable parameters deviate from the baseline's.
fn deviation(view: View<'_>, method: &MethodResults) -> Cell {
    let baseline = view.results.methods.iter().find(|other| other.name == view.results.baseline);
    let Some(baseline) = baseline.filter(|baseline| baseline.trainable_parameters > 0) else {
        return Cell::missing();
    };
    if method.name == baseline.name {
        return Cell::absent("baseline");
    }
    let ratio = method.trainable_parameters as f64 / baseline.trainable_parameters as f64;
    let percent = 100.0 * (ratio - 1.0);
    let class = if method.equal_parameters { "" } else { "absent" };
    Cell::number(percent, &format!("{} %", signed(percent, 1))).class(class)
}

/// The methods, their size and their cost.
pub(super) fn methods(view: View<'_>) -> String {
    let rows = view.results.methods.iter().map(|method| {
        let cost = method.cost.as_ref();
        let rounded = |value: Option<f64>| match value.filter(|value| *value > 0.0) {
            Some(value) => Cell::number(value, &count(value.round() as usize)),
            None => Cell::missing(),
        };
        vec![
            name(view, &method.name),
            Cell::text(&method.description).class("words"),
            method.rank.map_or_else(Cell::missing, |rank| Cell::number(rank as f64, &count(rank))),
            Cell::number(method.trainable_parameters as f64, &count(method.trainable_parameters)),
            deviation(view, method),
            Cell::number(method.learning_rate, &format!("{:e}", method.learning_rate)),
            rounded(cost.map(|cost| cost.train_tokens_per_s)),
            rounded(cost.map(|cost| cost.generate_tokens_per_s)),
            rounded(cost.map(|cost| cost.peak_rss_mb)),
        ]
    });
    Table {
        id: "methods",
        label: "The methods, their size and their cost",
        columns: columns(&[
            "method",
            "description",
            "rank",
            "parameters",
            "\u{394} parameters",
            "learning rate",
            "training tokens/s",
            "generation tokens/s",
            "peak memory, MiB",
        ]),
        fixed: Vec::new(),
        rows: rows.collect(),
    }
    .render()
}
