use std::fmt::Write;

use super::{GroupReport, RoutingReport, SiteReport};

const HEADER: &str = "layer,module,task_type,expert,tokens,load,importance,share,dead,identity,\
                      entropy,weight_entropy,cluster_distance,mutual_information\n";

/// The report as a table: a row for each projection, task type (`all` for all together) and
/// expert. What is absent is empty.
pub fn routing_csv(report: &RoutingReport) -> String {
    let mut csv = HEADER.to_owned();
    for site in &report.sites {
        rows(&mut csv, site, &site.all);
        site.task_types.iter().for_each(|group| rows(&mut csv, site, group));
    }
    csv
}

fn rows(csv: &mut String, site: &SiteReport, group: &GroupReport) {
    let optional = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
    let task_type = group.task_type.map_or_else(|| "all".to_owned(), |kind| kind.to_string());
    for expert in 0..site.experts {
        // Writing to a string does not fail.
        let _ = writeln!(
            csv,
            "{},{},{task_type},{expert},{},{},{},{},{},{},{},{},{},{}",
            site.layer,
            site.module,
            group.tokens,
            group.load[expert],
            group.importance[expert],
            group.share[expert],
            group.dead_experts.contains(&expert),
            expert < site.identity_experts,
            group.entropy,
            group.weight_entropy,
            optional(group.cluster_distance),
            optional(site.mutual_information),
        );
    }
}
