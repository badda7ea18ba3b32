use std::io;
use std::path::Path;

use report::format::{count, decimal, share};
use report::{Cell, Figure, Heat, Page, PageError, Panel, Section, Table};
use tensor_files::write_atomically;

use super::{GroupReport, RoutingReport, SiteReport, routing_csv};

const COLUMNS: [&str; 11] = [
    "projection",
    "layer",
    "task type",
    "tokens",
    "largest share",
    "dead",
    "entropy",
    "weight entropy",
    "identity",
    "distance",
    "specialisation",
];

/// Writes `routing.json`, `routing.csv` and `routing.html` into a folder, which is created where
/// it is absent.
///
/// # Errors
///
/// When a file cannot be written; earlier ones of the same name are then left as they were.
pub fn write_routing(folder: &Path, report: &RoutingReport) -> io::Result<()> {
    let write = |name: &str, text: &str| write_atomically(&folder.join(name), text.as_bytes());
    write("routing.json", &(serde_json::to_string_pretty(report)? + "\n"))?;
    write("routing.csv", &routing_csv(report))?;
    write("routing.html", &routing_html(report).map_err(io::Error::other)?)
}

/// A report on routing as one page that needs nothing else: no network, no scripts.
///
/// # Errors
///
/// [`PageError`] when the page cannot be made.
pub fn routing_html(report: &RoutingReport) -> Result<String, PageError> {
    let note = format!(
        "Experts are counted from 0. Dead: the experts with less than {} % of an even share. Entropy: of the \
         probabilities before selection, and of the weights after it, 1 for an even division. Identity: the share of \
         experts that leave the base model as it is. Distance: to the nearest cluster. Specialisation: how much of \
         the task type the expert tells, from 0 to 1. Padding does not count.",
        100.0 * report.dead_share
    );
    let page = Page {
        title: "How the experts are used".to_owned(),
        findings: findings(report),
        sections: vec![
            Section { figures: figures(report), ..Section::new("figures", "Figures") },
            Section { table: Some(table(report)), note, ..Section::new("numbers", "Numbers") },
        ],
    };
    page.html()
}

/// The projections, in the order in which a layer names them first.
fn modules(report: &RoutingReport) -> Vec<&str> {
    let mut modules: Vec<&str> = Vec::new();
    for site in &report.sites {
        if !modules.contains(&site.module.as_str()) {
            modules.push(&site.module);
        }
    }
    modules
}

fn findings(report: &RoutingReport) -> Vec<String> {
    let by_share =
        |a: &&SiteReport, b: &&SiteReport| a.all.largest_share.total_cmp(&b.all.largest_share);
    let Some(steepest) = report.sites.iter().max_by(by_share) else {
        return vec!["Nothing was routed.".to_owned()];
    };
    let experts: usize = report.sites.iter().map(|site| site.experts).sum();
    let dead: usize = report.sites.iter().map(|site| site.all.dead_experts.len()).sum();
    let mut findings = vec![
        match dead {
            0 => format!("All {} experts are in use.", count(experts)),
            dead => format!("{} of {} experts are dead.", count(dead), count(experts)),
        },
        format!(
            "The largest share of the routing weight that one expert receives is {}, at layer {}, {} \
             (an even share there is {}).",
            share(steepest.all.largest_share),
            steepest.layer,
            steepest.module,
            share(1.0 / steepest.experts as f64)
        ),
    ];
    let specialised = report.sites.iter().filter_map(|site| Some((site, site.specialisation?)));
    if let Some((site, value)) = specialised.max_by(|a, b| a.1.total_cmp(&b.1)) {
        findings.push(format!(
            "Experts differ most between task types at layer {}, {}: knowing the expert removes \
             {:.1} % of the uncertainty about the type.",
            site.layer,
            site.module,
            100.0 * value
        ));
    }
    findings
}

fn figures(report: &RoutingReport) -> Vec<Figure> {
    // One scale, so that projections can be compared.
    let groups = report.sites.iter().flat_map(|site| site.task_types.iter().chain([&site.all]));
    let highest = groups.map(|group| group.largest_share).fold(0.0, f64::max);
    let mut figures: Vec<Figure> =
        modules(report).into_iter().map(|module| shares(report, module, highest)).collect();
    figures.extend(co_activation(report));
    figures
}

/// Shares by layer and expert, a panel for each task type.
fn shares(report: &RoutingReport, module: &str, highest: f64) -> Figure {
    let sites: Vec<_> = report.sites.iter().filter(|site| site.module == module).collect();
    let labels: Vec<String> = sites.iter().map(|site| site.layer.to_string()).collect();
    let mut types: Vec<Option<i64>> =
        sites.iter().flat_map(|site| site.task_types.iter().map(|group| group.task_type)).collect();
    types.sort_unstable();
    types.dedup();
    // One type alone would repeat the whole.
    if types.len() < 2 {
        types.clear();
    }
    let group = |site: &&SiteReport, kind: Option<i64>| match kind {
        None => Some(site.all.clone()),
        kind => site.task_types.iter().find(|group| group.task_type == kind).cloned(),
    };
    let panels: Vec<Panel> = std::iter::once(None)
        .chain(types)
        .map(|kind| {
            let groups: Vec<_> = sites.iter().map(|site| group(site, kind)).collect();
            let crossed = groups.iter().enumerate().flat_map(|(row, group)| {
                let dead = group.as_ref().map_or(&[][..], |group| group.dead_experts.as_slice());
                dead.iter().map(move |expert| (row, *expert))
            });
            Panel {
                title: kind.map_or_else(|| "all".to_owned(), |kind| format!("task type {kind}")),
                crossed: crossed.collect(),
                values: groups
                    .iter()
                    .map(|g| g.as_ref().map_or(Vec::new(), |g| g.share.clone()))
                    .collect(),
            }
        })
        .collect();
    let mut caption =
        "Share of the routing weight that each expert receives; crosses mark dead experts."
            .to_owned();
    let identity = sites.iter().map(|site| site.identity_experts).max().unwrap_or(0);
    if identity > 0 {
        caption.push_str(&format!(" The first {identity} are identity experts."));
    }
    let (rows, columns) = ("layer".to_owned(), "expert".to_owned());
    Figure::new(module, caption, Heat { rows, labels, columns, panels, highest }.draw())
}

/// Which experts are selected together, by projection, averaged over layers; none where routing is
/// dense.
fn co_activation(report: &RoutingReport) -> Option<Figure> {
    let experts = report.sites.iter().map(|site| site.experts).max()?;
    let panels: Vec<Panel> = modules(report)
        .into_iter()
        .filter_map(|module| {
            let of_module =
                report.sites.iter().filter(|site| site.module == module && site.experts == experts);
            let matrices: Vec<_> =
                of_module.filter_map(|site| site.all.co_activation.as_ref()).collect();
            if matrices.is_empty() {
                return None;
            }
            let mean = |row: usize, column: usize| {
                let sum: f64 = matrices.iter().map(|matrix| matrix[row][column]).sum();
                sum / matrices.len() as f64
            };
            let values = (0..experts).map(|row| (0..experts).map(|c| mean(row, c)).collect());
            Some(Panel { title: module.to_owned(), values: values.collect(), crossed: Vec::new() })
        })
        .collect();
    let labels: Vec<String> = (0..experts).map(|expert| expert.to_string()).collect();
    let highest =
        panels.iter().flat_map(|p| p.values.iter().flatten().copied()).fold(0.0, f64::max);
    let caption = "Share of tokens that selected both experts, averaged over layers; on the diagonal the share that \
                   selected the expert.";
    let (rows, columns) = ("expert".to_owned(), "expert".to_owned());
    let heat = Heat { rows, labels, columns, panels, highest };
    (!heat.panels.is_empty())
        .then(|| Figure::new("Experts selected together", caption, heat.draw()))
}

fn table(report: &RoutingReport) -> Table {
    let mut rows = Vec::new();
    for module in modules(report) {
        for (at, site) in report.sites.iter().filter(|site| site.module == module).enumerate() {
            rows.push((at == 0, cells(site, &site.all, site.specialisation)));
            rows.extend(site.task_types.iter().map(|group| (false, cells(site, group, None))));
        }
    }
    // What no router of this model knows needs no column.
    let shown: Vec<usize> = (0..COLUMNS.len())
        .filter(|column| rows.iter().any(|(_, cells)| !cells[*column].is_empty()))
        .collect();
    let columns: Vec<&str> = shown.iter().map(|column| COLUMNS[*column]).collect();
    rows.iter().fold(
        Table::new("sites", "Routing by projection", &columns),
        |table, (first, row)| {
            let cells = shown.iter().map(|column| Cell::text(&row[*column])).collect();
            if *first { table.first_row(cells) } else { table.row(cells) }
        },
    )
}

fn cells(
    site: &SiteReport,
    group: &GroupReport,
    specialisation: Option<f64>,
) -> [String; COLUMNS.len()] {
    let optional = |value: Option<f64>| value.map_or_else(String::new, share);
    let dead: Vec<_> = group.dead_experts.iter().map(ToString::to_string).collect();
    [
        site.module.clone(),
        site.layer.to_string(),
        group.task_type.map_or_else(|| "all".to_owned(), |kind| kind.to_string()),
        count(group.tokens),
        share(group.largest_share),
        dead.join(" "),
        share(group.entropy),
        share(group.weight_entropy),
        optional(group.identity_share),
        optional(group.cluster_distance),
        specialisation.map_or_else(String::new, |value| decimal(value, 3)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(task_type: Option<i64>, share: [f64; 3]) -> GroupReport {
        GroupReport {
            task_type,
            tokens: 1200,
            load: share.to_vec(),
            importance: share.to_vec(),
            share: share.to_vec(),
            largest_share: share.iter().copied().fold(0.0, f64::max),
            dead_experts: (0..3).filter(|e| share[*e] == 0.0).collect(),
            entropy: 0.5,
            weight_entropy: 0.25,
            co_activation: Some(vec![vec![0.5; 3]; 3]),
            identity_share: None,
            cluster_distance: None,
        }
    }

    fn report(modules: &[&str]) -> RoutingReport {
        let sites = (0..2).flat_map(|layer| {
            modules.iter().map(move |module| SiteReport {
                layer,
                module: (*module).to_owned(),
                experts: 3,
                identity_experts: 0,
                mutual_information: Some(0.1),
                specialisation: Some(0.2),
                all: group(None, [0.5, 0.5, 0.0]),
                task_types: vec![group(Some(0), [0.6, 0.4, 0.0]), group(Some(7), [0.1, 0.2, 0.7])],
            })
        });
        RoutingReport { dead_share: 0.01, sites: sites.collect() }
    }

    #[test]
    fn the_page_shows_every_projection_and_task_type() {
        let page = routing_html(&report(&["mlp.up_proj", "mlp.<b>"])).unwrap();
        assert!(page.contains("4 of 12 experts are dead"), "{page}");
        for text in ["mlp.up_proj", "mlp.&lt;b&gt;", "task type 7", "layer 1, expert 2: 0.7000"] {
            assert!(page.contains(text), "{text}: {page}");
        }
        assert_eq!(page.matches("<svg").count(), 3);
        // Two layers of two projections, each with all and two types.
        assert_eq!(page.matches("<tr>").count() + page.matches("<tr class").count(), 1 + 12);
        assert!(
            !page.contains("<th scope=\"col\">identity") && page.contains(">dead</th>"),
            "{page}"
        );
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    #[test]
    fn an_empty_report_is_a_page_too() {
        assert!(routing_html(&report(&[])).unwrap().contains("Nothing was routed"));
    }
}
