use report::format::count;
use report::{Figure, Heat, Panel};

use super::View;
use crate::ExpertShares;

/// The kinds of text in the order of the panels; others follow.
const KINDS: [&str; 3] = ["knowledge", "tasks", "text"];

/// Share of each expert by layer, a row of panels for each projection and a panel for each kind of
/// text: a figure for each method that routes, on its largest amount of data, means over seeds.
pub(super) fn routing(view: View<'_>) -> Vec<(&str, Figure)> {
    view.methods().filter_map(|method| Some((method, figure(view, method)?))).collect()
}

fn figure(view: View<'_>, method: &str) -> Option<Figure> {
    let runs = view.results.runs.iter().filter(|run| run.method == method);
    let routed: Vec<_> = runs
        .filter_map(|run| Some((run.samples, run.counted()?.routing.as_ref()?)))
        .filter(|(_, routing)| !routing.shares.is_empty())
        .collect();
    let largest = routed.iter().map(|(samples, _)| *samples).max()?;
    let of_largest = || routed.iter().filter(|(samples, _)| *samples == largest);
    let all: Vec<&ExpertShares> = of_largest().flat_map(|(_, routing)| &routing.shares).collect();

    let mut layers: Vec<usize> = all.iter().map(|router| router.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let modules = distinct(all.iter().map(|router| router.module.as_str()));
    let kinds = all.iter().map(|router| router.kind.as_str());
    let known = KINDS.into_iter().filter(|kind| kinds.clone().any(|other| other == *kind));
    let kinds = distinct(known.chain(kinds.clone()));

    let mut panels = Vec::new();
    for module in &modules {
        for kind in &kinds {
            let values = layers.iter().map(|layer| {
                let own = all.iter().filter(|router| {
                    router.layer == *layer && router.module == *module && router.kind == *kind
                });
                mean(&own.map(|router| router.shares.as_slice()).collect::<Vec<_>>())
            });
            let title = match modules.len() {
                1 => (*kind).to_owned(),
                _ => format!("{}: {kind}", short(module)),
            };
            panels.push(Panel { title, values: values.collect(), crossed: Vec::new() });
        }
    }
    let labels: Vec<String> = layers.iter().map(ToString::to_string).collect();
    let caption = format!(
        "Mean share of each expert of {method} by layer and kind of text after {} samples, mean over {} {}.",
        count(largest),
        of_largest().count(),
        if of_largest().count() == 1 { "seed" } else { "seeds" }
    );
    let title = format!("Routing of {method}");
    let all = panels.iter().flat_map(|panel| panel.values.iter().flatten().copied());
    let highest = all.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let (rows, columns) = ("layer".to_owned(), "expert".to_owned());
    Some(Figure::new(title, caption, Heat { rows, labels, columns, panels, highest }.draw()))
}

/// The mean of rows of equal length; a row of another length is left out.
fn mean(rows: &[&[f64]]) -> Vec<f64> {
    let width = rows.first().map_or(0, |row| row.len());
    let rows: Vec<_> = rows.iter().filter(|row| row.len() == width).collect();
    (0..width).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / rows.len() as f64).collect()
}

/// A module's name as a title of a panel has room for it: `mlp.up_proj` as `up`.
fn short(module: &str) -> &str {
    let last = module.rsplit('.').next().unwrap_or(module);
    last.strip_suffix("_proj").unwrap_or(last)
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}
