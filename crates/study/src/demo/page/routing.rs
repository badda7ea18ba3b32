use report::format::{count, share};
use report::{Bars, Figure};

use crate::demo::{DemoReport, RoutingShares};

/// Routing share per expert, for each method with several experts at its largest amount of data.
pub(super) fn routing(report: &DemoReport) -> Vec<Figure> {
    let mut latest: Vec<&RoutingShares> = Vec::new();
    for shares in &report.routing {
        match latest.iter_mut().find(|known| known.method == shares.method) {
            Some(known) if known.samples >= shares.samples => {}
            Some(known) => *known = shares,
            None => latest.push(shares),
        }
    }
    latest.into_iter().filter_map(figure).collect()
}

fn figure(shares: &RoutingShares) -> Option<Figure> {
    let n = shares.knowledge_experts;
    let bars = Bars {
        places: "expert".to_owned(),
        shares: "share of the routing weight".to_owned(),
        kinds: [
            ("knowledge samples".to_owned(), shares.knowledge.clone()),
            ("task samples".to_owned(), shares.tasks.clone()),
        ],
        apart: Some((n, ["knowledge experts".to_owned(), "task experts".to_owned()])),
    };
    let mut caption = format!(
        "Share of the routing weight per expert in {} after {} samples, averaged over layers and projections. The \
         dashed line is an even division.",
        shares.method,
        count(shares.samples)
    );
    if n > 0 && n < bars.count() {
        let half = |values: &[f64]| share(values.iter().take(n).sum());
        caption.push_str(&format!(
            " The knowledge experts receive {} on knowledge samples and {} on task samples.",
            half(&shares.knowledge),
            half(&shares.tasks)
        ));
    }
    let title = format!("Routing of {}", shares.method);
    (bars.count() > 1).then(|| Figure::new(title, caption, bars.draw()))
}
