use std::collections::BTreeMap;
use std::path::Path;

use super::{Retention, RetentionError, RetentionRow, exact_mcnemar, paired_t};
use crate::results::{EvaluationResults, SampleRecord, read_samples};

/// Compares two folders of evaluations, document by document, on the tasks that both have.
///
/// # Errors
/// [`RetentionError`] when a folder cannot be read, when they share no task, or when a task was
/// evaluated on other documents or prompts.
pub fn compare(before: &Path, after: &Path) -> Result<Retention, RetentionError> {
    let (old, new) = (EvaluationResults::read(before)?, EvaluationResults::read(after)?);
    let tasks: Vec<&String> =
        old.num_samples.keys().filter(|task| new.num_samples.contains_key(*task)).collect();
    if tasks.is_empty() {
        let list = |results: &EvaluationResults| {
            results.num_samples.keys().cloned().collect::<Vec<_>>().join(", ")
        };
        return Err(RetentionError::NoCommonTask {
            before: before.into(),
            after: after.into(),
            before_tasks: list(&old),
            after_tasks: list(&new),
        });
    }
    let mut pairs: BTreeMap<&str, Vec<Pair>> = BTreeMap::new();
    for task in tasks {
        let found = pair(task, before, after)?;
        pairs.insert(task, found);
    }
    let mut rows = Vec::new();
    for (task, pairs) in &pairs {
        rows.extend(compare_rows(&old, task, false, &[pairs]));
    }
    for group in old.group_subtasks.keys().filter(|group| new.group_subtasks.contains_key(*group)) {
        let leaves = leaves(&old, group);
        let parts: Vec<_> = leaves.iter().filter_map(|task| pairs.get(task)).collect();
        // A mean over some of a group's tasks is not the group's.
        if parts.len() == leaves.len() && !parts.is_empty() {
            let parts: Vec<&[Pair]> = parts.iter().map(|part| part.as_slice()).collect();
            rows.extend(compare_rows(&old, group, true, &parts));
        }
    }
    let name = |folder: &Path| folder.display().to_string();
    Ok(Retention { before: name(before), after: name(after), rows })
}

/// The tasks in a group, and in the groups in it.
fn leaves<'a>(results: &'a EvaluationResults, group: &'a str) -> Vec<&'a str> {
    match results.group_subtasks.get(group) {
        Some(parts) => parts.iter().flat_map(|part| leaves(results, part)).collect(),
        None => vec![group],
    }
}

/// One document under one filter, before and after.
struct Pair {
    before: SampleRecord,
    after: SampleRecord,
}

fn pair(task: &str, before: &Path, after: &Path) -> Result<Vec<Pair>, RetentionError> {
    let key = |sample: &SampleRecord| (sample.filter.clone(), sample.doc_id);
    let unpaired = |doc_id, difference| RetentionError::Unpaired {
        before: before.into(),
        after: after.into(),
        task: task.to_owned(),
        doc_id,
        difference,
    };
    let mut earlier: BTreeMap<_, _> =
        read_samples(before, task)?.into_iter().map(|sample| (key(&sample), sample)).collect();
    let mut pairs = Vec::with_capacity(earlier.len());
    for after in read_samples(after, task)? {
        let id = after.doc_id;
        let before = earlier.remove(&key(&after)).ok_or_else(|| unpaired(id, "is in it, other"))?;
        if before.doc != after.doc {
            return Err(unpaired(id, "has another content"));
        }
        if before.arguments != after.arguments {
            return Err(unpaired(id, "has another prompt"));
        }
        pairs.push(Pair { before, after });
    }
    match earlier.into_keys().next() {
        Some((_, id)) => Err(unpaired(id, "is missing, other")),
        None => Ok(pairs),
    }
}

/// A row for each filter and metric, over the documents of several tasks.
fn compare_rows(
    results: &EvaluationResults,
    name: &str,
    group: bool,
    tasks: &[&[Pair]],
) -> Vec<RetentionRow> {
    let all = || tasks.iter().copied().flatten();
    let mut rows = Vec::new();
    for (metric, filter) in results.metrics(name) {
        let chosen = || all().filter(|pair| pair.before.filter == filter);
        let of = |pair: &Pair| Some((pair.before.score(metric)?, pair.after.score(metric)?));
        let scores: Option<Vec<_>> = chosen().map(of).collect();
        let weighted = |pair: &Pair| {
            let (old, units) = pair.before.weighted(metric)?;
            Some((old, pair.after.weighted(metric)?.0, units))
        };
        let losses: Option<Vec<_>> = chosen().map(weighted).collect();
        let row = RetentionRow {
            task: name.to_owned(),
            group,
            filter: filter.to_owned(),
            metric: metric.to_owned(),
            higher_is_better: higher_is_better(results, name, metric).unwrap_or(true),
            samples: chosen().count(),
            before: f64::NAN,
            after: f64::NAN,
            difference: f64::NAN,
            stderr: None,
            share_kept: None,
            still_right: None,
            test: None,
        };
        match (scores, losses) {
            (Some(scores), _) if !scores.is_empty() => rows.push(of_scores(row, &scores)),
            // The same loss stands behind several ways to print it.
            (_, Some(losses)) if !losses.is_empty() && metric != "bits_per_byte" => {
                rows.push(of_losses(row, &losses));
            }
            _ => {}
        }
    }
    rows
}

fn higher_is_better(results: &EvaluationResults, name: &str, metric: &str) -> Option<bool> {
    let task = leaves(results, name).into_iter().next()?;
    results.higher_is_better.get(task)?.get(metric).copied()
}

/// Means of scores, `[before, after]`.
fn of_scores(row: RetentionRow, scores: &[(f64, f64)]) -> RetentionRow {
    let count = scores.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| scores.iter().map(of).sum::<f64>() / count;
    let (before, after) = (mean(|score| score.0), mean(|score| score.1));
    let difference = after - before;
    let squares: f64 =
        scores.iter().map(|(old, new)| (new - old - difference).powi(2)).sum::<f64>();
    let stderr = (scores.len() > 1).then(|| (squares / (count * (count - 1.0))).sqrt());
    let binary =
        scores.iter().all(|(old, new)| [old, new].iter().all(|s| **s == 0.0 || **s == 1.0));
    let number = |old: f64, new: f64| {
        scores.iter().filter(|(before, after)| *before == old && *after == new).count() as u64
    };
    let (right, lost) = (number(1.0, 1.0), number(1.0, 0.0));
    RetentionRow {
        before,
        after,
        difference,
        stderr,
        share_kept: (before > 0.0 && row.higher_is_better).then(|| after / before),
        still_right: (binary && right + lost > 0).then(|| right as f64 / (right + lost) as f64),
        test: match binary {
            true => Some(exact_mcnemar(number(0.0, 1.0), lost)),
            false => stderr.and_then(|stderr| paired_t(difference, stderr, scores.len())),
        },
        ..row
    }
}

/// The loss in nats a unit, `-sum ll / sum units`, of `[ll before, ll after, units]`; the standard
/// error is that of a ratio, `sqrt(n / (n - 1) sum (d_i - d u_i)^2) / sum u`.
fn of_losses(row: RetentionRow, losses: &[(f64, f64, f64)]) -> RetentionRow {
    let units: f64 = losses.iter().map(|(_, _, units)| units).sum();
    let before = -losses.iter().map(|(old, _, _)| old).sum::<f64>() / units;
    let after = -losses.iter().map(|(_, new, _)| new).sum::<f64>() / units;
    let difference = after - before;
    let count = losses.len() as f64;
    let squares: f64 =
        losses.iter().map(|(old, new, units)| (old - new - difference * units).powi(2)).sum();
    let stderr = (losses.len() > 1).then(|| (count / (count - 1.0) * squares).sqrt() / units);
    let unit = if row.metric.starts_with("byte") { "byte" } else { "word" };
    RetentionRow {
        metric: format!("loss per {unit}"),
        higher_is_better: false,
        before,
        after,
        difference,
        stderr,
        test: stderr.and_then(|stderr| paired_t(difference, stderr, losses.len())),
        ..row
    }
}
