use report::format::{count, list, share, signed};

use super::view::View;
use crate::{Estimate, Metric, StudyResults, StudySummary};

/// How two methods are said to differ: more, less.
const KEPT: [&str; 3] = ["keep", "knowledge", "in knowledge kept"];
const LEARNED: [&str; 3] = ["learn", "of the tasks", "in tasks learned"];

/// The findings of a study in words, the main one first. Each is computed from the numbers alone; a
/// difference is one only where its 95 % interval leaves out zero.
pub fn study_headline(results: &StudyResults, summary: &StudySummary) -> Vec<String> {
    let view = View { results, summary };
    let mut sentences = vec![finding(view)];
    sentences.extend(missing(results));
    sentences.extend(compared(view, Metric::Tasks, LEARNED).map(|text| format!("{text}.")));
    sentences.extend(equal_learning(view));
    sentences.extend(front(view));
    sentences.extend(diverged(view));
    sentences.extend(untuned(view));
    sentences
}

/// What a report of a part of a study lacks.
fn missing(results: &StudyResults) -> Option<String> {
    /// How many are named.
    const NAMED: usize = 12;
    let missing = &results.missing;
    if missing.is_empty() {
        return None;
    }
    let mut names: Vec<_> = missing.iter().take(NAMED).cloned().collect();
    if missing.len() > NAMED {
        names.push(format!("{} more", missing.len() - NAMED));
    }
    let are = if missing.len() == 1 { "run is" } else { "runs are" };
    let names = list(names.into_iter());
    Some(format!("Not all is measured yet; {} {are} missing: {names}.", missing.len()))
}

fn finding(view: View<'_>) -> String {
    let measured = view.summary.cells.iter().any(|cell| !cell.metrics.is_empty());
    if !measured {
        return "No run was measured.".to_owned();
    }
    let start = format!("After {} tuning samples, ", count(view.largest()));
    match compared(view, Metric::Knowledge, KEPT) {
        Some(text) => format!("{start}{text}."),
        None => format!("{start}{}.", most(view)),
    }
}

/// Who differs from the baseline in a metric on the largest amount of data.
fn compared(view: View<'_>, metric: Metric, [verb, of, within]: [&str; 3]) -> Option<String> {
    let baseline = &view.results.baseline;
    let own = view.last(baseline)?.get(metric)?.estimate;
    let mut differences: Vec<(&str, Estimate)> = view
        .methods()
        .filter_map(|method| Some((method, view.last(method)?.get(metric)?.difference?)))
        .collect();
    differences.sort_by(|a, b| b.1.mean.total_cmp(&a.1.mean));
    if differences.is_empty() {
        return None;
    }
    let named = |sign: bool| -> Vec<String> {
        let own = differences.iter().filter(|(_, difference)| difference.sign() == Some(sign));
        own.map(|(method, difference)| format!("{method} ({})", signed(difference.mean, 2)))
            .collect()
    };
    let (more, fewer) = (named(true), named(false));
    let against = format!("than {baseline} ({})", share(own.mean));
    let mut parts = Vec::new();
    if !more.is_empty() {
        let verb = conjugated(verb, more.len());
        parts.push(format!("{} {verb} more {of} {against}", list(more.into_iter())));
    }
    if !fewer.is_empty() {
        let verb = conjugated(verb, fewer.len());
        let (of, against) = match parts.is_empty() {
            true => (format!(" {of}"), format!(" {against}")),
            false => (String::new(), String::new()),
        };
        parts.push(format!("{} {verb} less{of}{against}", list(fewer.into_iter())));
    }
    // Methods that cannot be told apart are named by how many seeds that rests on.
    let unclear: Vec<_> = differences.iter().filter(|(_, d)| d.sign().is_none()).collect();
    let mut numbers: Vec<usize> = unclear.iter().map(|(_, d)| d.n).collect();
    numbers.sort_unstable();
    numbers.dedup();
    for n in numbers.into_iter().rev() {
        let names: Vec<_> =
            unclear.iter().filter(|(_, d)| d.n == n).map(|(name, _)| *name).collect();
        let be = if names.len() == 1 { "is" } else { "are" };
        let named = list(names.iter().map(|name| (*name).to_owned()));
        let seeds = if n == 1 { "1 seed".to_owned() } else { format!("{n} seeds") };
        let mut part = format!("{named} {be} not distinguishable from {baseline}");
        if parts.is_empty() {
            part.push_str(&format!(" ({}) {within}", share(own.mean)));
        }
        parts.push(format!("{part} with {seeds}"));
    }
    Some(parts.join("; "))
}

/// The method that keeps most, where there is no baseline to compare with.
fn most(view: View<'_>) -> String {
    let estimates = view
        .methods()
        .filter_map(|method| Some((method, view.last(method)?.get(Metric::Knowledge)?.estimate)));
    let baseline = &view.results.baseline;
    match estimates.max_by(|a, b| a.1.mean.total_cmp(&b.1.mean)) {
        Some((method, estimate)) => {
            let kept = share(estimate.mean);
            match view.results.methods.len() {
                1 => format!("{method} keeps {kept} of the knowledge"),
                _ => format!(
                    "{method} keeps most of the knowledge, {kept}; nothing could be compared with {baseline}"
                ),
            }
        }
        None => "every run has diverged".to_owned(),
    }
}

fn equal_learning(view: View<'_>) -> Option<String> {
    if view.results.methods.len() < 2 {
        return None;
    }
    let Some(equal) = &view.summary.equal_learning else {
        return Some(
            "The methods reach no common level of tasks learned, so the knowledge they keep cannot be compared at \
             equal learning."
                .to_owned(),
        );
    };
    let kept = equal.kept.iter().map(|kept| {
        let mark = match kept.difference.and_then(|difference| difference.sign()) {
            Some(_) => "*",
            None => "",
        };
        format!("{} {}{mark}", kept.method, share(kept.estimate.mean))
    });
    let marked = equal.kept.iter().any(|kept| kept.difference.is_some_and(|d| d.sign().is_some()));
    let note = match marked {
        true => format!(" (* distinguishable from {})", view.results.baseline),
        false => format!("; none is distinguishable from {}", view.results.baseline),
    };
    Some(format!(
        "At equal tasks learned ({}, the most that {} reaches in every seed), the knowledge kept is: {}{note}.",
        share(equal.level),
        equal.set_by,
        list(kept)
    ))
}

fn front(view: View<'_>) -> Option<String> {
    let on_front = view.summary.cells.iter().filter(|cell| cell.front);
    let mut named: Vec<(&str, Vec<String>)> = Vec::new();
    for cell in on_front {
        let samples = count(cell.samples);
        match named.iter_mut().find(|(method, _)| *method == cell.method) {
            Some((_, amounts)) => amounts.push(samples),
            None => named.push((&cell.method, vec![samples])),
        }
    }
    if named.is_empty() || view.summary.cells.len() < 2 {
        return None;
    }
    let named = named
        .into_iter()
        .map(|(method, amounts)| format!("{method} ({})", list(amounts.into_iter())));
    Some(format!(
        "In means, no method is better in tasks and knowledge both than (number of samples): {}.",
        list(named)
    ))
}

fn diverged(view: View<'_>) -> Option<String> {
    let runs: usize = view.summary.cells.iter().map(|cell| cell.runs).sum();
    let mut named = Vec::new();
    let mut all = 0;
    for cell in &view.summary.cells {
        let (samples, n) = (count(cell.samples), cell.diverged.len());
        all += n;
        let Some(first) = cell.diverged.first() else {
            continue;
        };
        let (seed, why) = (first.seed, first.divergence);
        named.push(match n {
            1 => format!("{} (seed {seed}, {samples} samples, {why})", cell.method),
            _ => format!(
                "{} ({n} of {} seeds, {samples} samples; seed {seed}: {why})",
                cell.method, cell.runs
            ),
        });
    }
    let be = if all == 1 { "It is" } else { "They are" };
    (all > 0).then(|| {
        format!("{all} of {runs} runs diverged: {}. {be} in no mean.", list(named.into_iter()))
    })
}

fn untuned(view: View<'_>) -> Option<String> {
    let knowledge = view.summary.base(Metric::Knowledge)?;
    let tasks = view.summary.base(Metric::Tasks)?;
    Some(format!(
        "Before tuning, knowledge is {} and tasks learned {}.",
        share(knowledge.mean),
        share(tasks.mean)
    ))
}

/// A verb for one subject or for several.
fn conjugated(verb: &str, subjects: usize) -> String {
    if subjects == 1 { format!("{verb}s") } else { verb.to_owned() }
}
