//! The tables of a study's page.

use report::format::{count, decimal, signed};
use report::{Cell, Table};

use super::view::View;
use crate::{CellSummary, Estimate, MethodResults, Metric, MetricSummary};

fn decimals(metric: Metric) -> usize {
    match metric {
        Metric::TextLoss | Metric::TextLossChange | Metric::Specialisation => 3,
        _ => 2,
    }
}

fn name(view: View<'_>, method: &str) -> Cell {
    Cell::text(method).signed(view.look(method))
}

fn whole(value: usize) -> Cell {
    Cell::number(value as f64, count(value))
}

/// A number above 0 that may not have been measured, without decimals.
fn rounded(value: Option<f64>) -> Cell {
    let value = value.filter(|value| *value > 0.0);
    value.map_or_else(Cell::missing, |value| Cell::number(value, count(value.round() as usize)))
}

/// A dot for what is so.
fn dot(so: bool) -> Cell {
    Cell::number(f64::from(u8::from(so)), if so { "\u{25cf}" } else { "" })
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
    Cell::number(estimate.mean, value).soft(rest.join(", "))
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
    let interval = match estimate.half_width {
        Some(half) => format!("\u{b1} {}", decimal(half, places)),
        None => "one seed".to_owned(),
    };
    let (sign, class) = match estimate.sign() {
        Some(true) => ("\u{25b2} ", "clear"),
        Some(false) => ("\u{25bc} ", "clear"),
        None => ("", "unclear"),
    };
    let value = format!("{sign}{}", signed(estimate.mean, places));
    Cell::number(estimate.mean, value).soft(interval).class(class)
}

fn diverged(cell: &CellSummary) -> Cell {
    let n = cell.diverged.len();
    let class = if n > 0 { "absent" } else { "" };
    Cell::number(n as f64, format!("{n} of {}", cell.runs)).class(class)
}

fn untuned(view: View<'_>, metrics: &[Option<Metric>]) -> Vec<Cell> {
    let cells = metrics.iter().map(|metric| match metric {
        Some(metric) => mean(view, *metric, view.summary.base(*metric)),
        None => Cell::absent(""),
    });
    std::iter::once(Cell::text("untuned")).chain(cells).collect()
}

/// What a reader wants to know first: the methods on the largest amount of data.
pub(super) fn overview(view: View<'_>) -> Table {
    let rows = view.results.methods.iter().filter_map(|method| {
        let cell = view.last(&method.name)?;
        Some(vec![
            name(view, &method.name),
            measured(view, cell, Metric::Knowledge),
            against(view, cell, Metric::Knowledge),
            measured(view, cell, Metric::Tasks),
            against(view, cell, Metric::Tasks),
            measured(view, cell, Metric::Score),
            dot(cell.front),
            rounded(method.cost.as_ref().map(|cost| cost.train_tokens_per_s)),
            whole(method.trainable_parameters),
            diverged(cell),
        ])
    });
    let (knowledge, tasks) = (Some(Metric::Knowledge), Some(Metric::Tasks));
    let base = [knowledge, None, tasks, None, Some(Metric::Score), None, None, None, None];
    let columns = [
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
    ];
    let table = Table::new("overview", "Results on the largest amount of data", &columns);
    table.sortable().fixed(untuned(view, &base)).rows(rows)
}

/// All amounts of data.
pub(super) fn amounts(view: View<'_>) -> Table {
    let metrics = [
        Metric::Knowledge,
        Metric::RelativeKnowledge,
        Metric::Tasks,
        Metric::TextLoss,
        Metric::TextLossChange,
    ];
    let rows = view.summary.cells.iter().map(|cell| {
        let mut row = vec![name(view, &cell.method), whole(cell.samples)];
        row.extend(metrics.map(|metric| measured(view, cell, metric)));
        row.extend([Metric::Knowledge, Metric::Tasks].map(|metric| against(view, cell, metric)));
        row.extend([dot(cell.front), diverged(cell)]);
        row
    });
    let columns = [
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
    ];
    let mut base = [None; 10];
    (base[1], base[3], base[4]) = (Some(metrics[0]), Some(metrics[2]), Some(metrics[3]));
    let table = Table::new("amounts", "Results on all amounts of data", &columns);
    table.sortable().fixed(untuned(view, &base)).rows(rows)
}

/// How the mixtures route; `None` where none does.
pub(super) fn routing(view: View<'_>) -> Option<Table> {
    let metrics = [
        Metric::Entropy,
        Metric::LargestShare,
        Metric::DeadExperts,
        Metric::Specialisation,
        Metric::IdentityOnTasks,
        Metric::IdentityOnText,
    ];
    let routed = view.summary.cells.iter().filter(|cell| cell.get(Metric::Entropy).is_some());
    let rows = routed.map(|cell| {
        let mut row = vec![name(view, &cell.method), whole(cell.samples)];
        row.extend(metrics.map(|metric| measured(view, cell, metric)));
        row
    });
    let columns = [
        "method",
        "samples",
        "entropy",
        "largest share",
        "dead experts",
        "specialisation",
        "identity, tasks",
        "identity, text",
    ];
    Table::new("routing", "How the mixtures route", &columns).sortable().rows(rows).filled()
}

/// The search of learning rates; `None` where none was made.
pub(super) fn search(view: View<'_>) -> Option<Table> {
    let methods = view.results.methods.iter();
    let points = methods.flat_map(|method| method.search.iter().map(move |point| (method, point)));
    let rows = points.map(|(method, point)| {
        let share = |value: f64| match point.diverged {
            true => Cell::absent("diverged"),
            false => Cell::number(value, decimal(value, 2)),
        };
        vec![
            name(view, &method.name),
            Cell::number(point.learning_rate, format!("{:e}", point.learning_rate)),
            share(point.knowledge),
            share(point.tasks),
            share((point.knowledge + point.tasks) / 2.0),
            dot(point.learning_rate == method.learning_rate),
        ]
    });
    let columns = ["method", "learning rate", "knowledge", "tasks", "score", "chosen"];
    Table::new("search", "Learning rates tried", &columns).sortable().rows(rows).filled()
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
    Cell::number(percent, format!("{} %", signed(percent, 1))).class(class)
}

/// The methods, their size and their cost.
pub(super) fn methods(view: View<'_>) -> Table {
    let rows = view.results.methods.iter().map(|method| {
        let cost = method.cost.as_ref();
        vec![
            name(view, &method.name),
            Cell::text(&method.description).class("words"),
            method.rank.map_or_else(Cell::missing, whole),
            whole(method.trainable_parameters),
            deviation(view, method),
            Cell::number(method.learning_rate, format!("{:e}", method.learning_rate)),
            rounded(cost.map(|cost| cost.train_tokens_per_s)),
            rounded(cost.map(|cost| cost.generate_tokens_per_s)),
            rounded(cost.map(|cost| cost.peak_rss_mb)),
        ]
    });
    let columns = [
        "method",
        "description",
        "rank",
        "parameters",
        "\u{394} parameters",
        "learning rate",
        "training tokens/s",
        "generation tokens/s",
        "peak memory, MiB",
    ];
    let label = "The methods, their size and their cost";
    Table::new("methods", label, &columns).sortable().rows(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_what_was_not_measured_is_missing() {
        let said = |cell: Cell| serde_json::to_value(cell).unwrap();
        assert_eq!(said(rounded(Some(1234.6))), said(Cell::number(1234.6, "1,235")));
        for none in [None, Some(0.0), Some(-1.0)] {
            assert_eq!(said(rounded(none)), said(Cell::missing()));
        }
    }
}
