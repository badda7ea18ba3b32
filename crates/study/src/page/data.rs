//! Every number of a study as tables for other programs.

use super::csv::{Csv, field, number};
use crate::{BASE, Estimate, Metric, MetricSummary, StudyResults, StudySummary};

const ESTIMATE: [&str; 7] = ["n", "mean", "half_width", "low", "high", "smallest", "largest"];
const DIFFERENCE: [&str; 5] =
    ["difference_n", "difference", "difference_half_width", "difference_low", "difference_high"];

fn estimate(estimate: Option<&Estimate>) -> [String; 7] {
    let interval = estimate.and_then(Estimate::interval);
    [
        estimate.map_or(0, |e| e.n).to_string(),
        number(estimate.map(|e| e.mean)),
        number(estimate.and_then(|e| e.half_width)),
        number(interval.map(|ends| ends.0)),
        number(interval.map(|ends| ends.1)),
        number(estimate.map(|e| e.smallest)),
        number(estimate.map(|e| e.largest)),
    ]
}

fn difference(of: Option<&Estimate>) -> impl Iterator<Item = String> {
    estimate(of).into_iter().take(DIFFERENCE.len())
}

/// The statistics, a row for each method, amount of data and metric. The base models are the method
/// `base` of 0 samples; runs that all diverged have rows with `n` 0.
pub(super) fn summary(summary: &StudySummary) -> String {
    let mut header = vec!["method", "samples", "metric", "runs", "diverged", "front"];
    header.extend(ESTIMATE);
    header.extend(DIFFERENCE);
    let mut csv = Csv::new(&header);
    let mut row =
        |start: [String; 3], runs: [usize; 2], front: bool, of: Option<&MetricSummary>| {
            let runs = runs.map(|n| n.to_string());
            let values = estimate(of.map(|m| &m.estimate)).into_iter();
            let values = values.chain(difference(of.and_then(|m| m.difference.as_ref())));
            csv.row(start.into_iter().chain(runs).chain([front.to_string()]).chain(values));
        };
    for own in &summary.base {
        let start = [BASE.to_owned(), "0".to_owned(), own.metric.key().to_owned()];
        row(start, [own.estimate.n, 0], false, Some(own));
    }
    for cell in &summary.cells {
        for metric in Metric::ALL {
            let own = cell.get(metric);
            if own.is_some() || cell.metrics.is_empty() {
                let name = field(&cell.method);
                let start = [name, cell.samples.to_string(), metric.key().to_owned()];
                row(start, [cell.runs, cell.diverged.len()], cell.front, own);
            }
        }
    }
    csv.finish()
}

/// The knowledge kept at equal tasks learned; the header alone where the methods share no level.
pub(super) fn equal_learning(summary: &StudySummary) -> String {
    let mut header = vec!["tasks", "method"];
    header.extend(ESTIMATE);
    header.extend(DIFFERENCE);
    let mut csv = Csv::new(&header);
    if let Some(equal) = &summary.equal_learning {
        for kept in &equal.kept {
            let start = [number(equal.level), field(&kept.method)];
            let values = estimate(Some(&kept.estimate)).into_iter();
            csv.row(start.into_iter().chain(values).chain(difference(kept.difference.as_ref())));
        }
    }
    csv.finish()
}

/// A row for each run, with all metrics; those of a run that diverged are empty.
pub(super) fn runs(results: &StudyResults) -> String {
    let mut header = vec!["method", "seed", "samples", "learning_rate", "diverged", "seconds"];
    header.extend(Metric::ALL.map(Metric::key));
    let mut csv = Csv::new(&header);
    for run in &results.runs {
        let base = results.base.iter().find(|base| base.seed == run.seed);
        let measured = run.counted();
        let metrics =
            Metric::ALL.map(|metric| number(measured.and_then(|run| metric.of(run, base))));
        let start = [
            field(&run.method),
            run.seed.to_string(),
            run.samples.to_string(),
            number(run.learning_rate),
            run.diverged.map_or_else(String::new, field),
            number(run.seconds),
        ];
        csv.row(start.into_iter().chain(metrics));
    }
    csv.finish()
}

/// A row for each method.
pub(super) fn methods(results: &StudyResults) -> String {
    let mut csv = Csv::new(&[
        "method",
        "description",
        "rank",
        "trainable_parameters",
        "equal_parameters",
        "learning_rate",
        "train_tokens_per_s",
        "generate_tokens_per_s",
        "peak_rss_mb",
    ]);
    for method in &results.methods {
        let cost = method.cost.as_ref();
        csv.row([
            field(&method.name),
            field(&method.description),
            method.rank.map_or_else(String::new, |rank| rank.to_string()),
            method.trainable_parameters.to_string(),
            method.equal_parameters.to_string(),
            number(method.learning_rate),
            number(cost.map(|cost| cost.train_tokens_per_s)),
            number(cost.map(|cost| cost.generate_tokens_per_s)),
            number(cost.map(|cost| cost.peak_rss_mb).filter(|mb| *mb > 0.0)),
        ]);
    }
    csv.finish()
}

/// A row for each learning rate of a search.
pub(super) fn search(results: &StudyResults) -> String {
    let header = ["method", "learning_rate", "chosen", "diverged", "tasks", "knowledge"];
    let mut csv = Csv::new(&header);
    for method in &results.methods {
        for point in &method.search {
            csv.row([
                field(&method.name),
                number(point.learning_rate),
                (point.learning_rate == method.learning_rate).to_string(),
                point.diverged.to_string(),
                number(Some(point.tasks).filter(|_| !point.diverged)),
                number(Some(point.knowledge).filter(|_| !point.diverged)),
            ]);
        }
    }
    csv.finish()
}

/// The share of each expert, a row for each run, router, kind of text and expert.
pub(super) fn routing(results: &StudyResults) -> String {
    let header =
        ["method", "seed", "samples", "layer", "module", "kind", "expert", "share", "load"];
    let mut csv = Csv::new(&header);
    for run in &results.runs {
        let routing = run.counted().and_then(|measured| measured.routing.as_ref());
        for router in routing.map_or(&[][..], |routing| routing.shares.as_slice()) {
            for (expert, share) in router.shares.iter().enumerate() {
                csv.row([
                    field(&run.method),
                    run.seed.to_string(),
                    run.samples.to_string(),
                    router.layer.to_string(),
                    field(&router.module),
                    field(&router.kind),
                    expert.to_string(),
                    number(*share),
                    number(router.load.get(expert).copied()),
                ]);
            }
        }
    }
    csv.finish()
}

/// Benchmark tasks, a row for each run and task; the base models are the method `base`.
pub(super) fn scores(results: &StudyResults) -> String {
    let mut csv = Csv::new(&["method", "seed", "samples", "task", "value"]);
    for base in &results.base {
        for (task, value) in &base.scores {
            let seed = base.seed.to_string();
            csv.row(["base".into(), seed, "0".into(), field(task), number(*value)]);
        }
    }
    for run in &results.runs {
        for (task, value) in run.counted().iter().flat_map(|measured| &measured.scores) {
            let (seed, samples) = (run.seed.to_string(), run.samples.to_string());
            csv.row([field(&run.method), seed, samples, field(task), number(*value)]);
        }
    }
    csv.finish()
}

/// Training loss, a row for each run and step.
pub(super) fn curves(results: &StudyResults) -> String {
    let mut csv = Csv::new(&["method", "seed", "samples", "step", "loss"]);
    for run in &results.runs {
        let start = [field(&run.method), run.seed.to_string(), run.samples.to_string()];
        for (step, loss) in &run.curve {
            csv.row(start.iter().cloned().chain([number(*step), number(*loss)]));
        }
    }
    csv.finish()
}
