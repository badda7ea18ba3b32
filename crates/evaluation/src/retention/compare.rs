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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A document with scores before and after.
    fn pair(doc_id: usize, before: serde_json::Value, after: serde_json::Value) -> Pair {
        let sample = |scores: serde_json::Value| {
            let mut record = json!({
                "doc_id": doc_id, "doc": {}, "target": "", "arguments": [], "resps": [],
                "filtered_resps": [], "filter": "none", "metrics": [],
            });
            let fields = record.as_object_mut().unwrap();
            fields.extend(scores.as_object().unwrap().clone());
            serde_json::from_value(record).unwrap()
        };
        Pair { before: sample(before), after: sample(after) }
    }

    fn rows(metrics: &[&str], pairs: &[Pair]) -> Vec<RetentionRow> {
        let values: serde_json::Map<_, _> =
            metrics.iter().map(|metric| (format!("{metric},none"), json!(0.0))).collect();
        let results = BTreeMap::from([("t".to_owned(), values)]);
        let results = EvaluationResults { results, ..EvaluationResults::default() };
        compare_rows(&results, "t", false, &[pairs])
    }

    fn close(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found}, expected {expected}");
    }

    #[test]
    fn scores_are_compared_document_by_document() {
        let one = |at: usize, old: f64, new: f64| pair(at, json!({"s": old}), json!({"s": new}));
        let binary = [one(0, 1.0, 1.0), one(1, 1.0, 0.0), one(2, 0.0, 1.0), one(3, 1.0, 0.0)];
        let [row] = &rows(&["s"], &binary)[..] else { panic!("one row") };
        assert_eq!((row.samples, row.before, row.after, row.difference), (4, 0.75, 0.5, -0.25));
        close(row.still_right, 1.0 / 3.0);
        close(row.share_kept, 2.0 / 3.0);
        assert_eq!(row.test, Some(exact_mcnemar(1, 2)));
        // As scipy.stats.sem of the differences, and ttest_rel.
        let others = [one(0, 0.5, 0.25), one(1, 0.75, 1.0), one(2, 0.2, 0.1), one(3, 0.9, 0.3)];
        let [row] = &rows(&["s"], &others)[..] else { panic!("one row") };
        close(row.stderr, 0.1761864542655498);
        close(row.test.map(|test| test.p_value()), 0.39379612606853576);
        assert_eq!(row.still_right, None);
        // A truth is a number, and what has no score has no row.
        let truths = [pair(0, json!({"s": true}), json!({"s": false}))];
        assert_eq!((rows(&["s"], &truths)[0].before, rows(&["s"], &truths)[0].after), (1.0, 0.0));
        assert!(rows(&["other"], &truths).is_empty());
    }

    #[test]
    fn losses_are_spread_over_all_units_and_said_once() {
        let one = |at: usize, old: f64, new: f64, units: usize| {
            let both = |loss: f64| json!({"word_perplexity": [loss, units], "bits_per_byte": [loss, units]});
            pair(at, both(old), both(new))
        };
        let pairs = [one(0, -10.0, -12.0, 4), one(1, -20.0, -19.0, 6), one(2, -6.0, -9.0, 2)];
        let [row] = &rows(&["word_perplexity", "bits_per_byte"], &pairs)[..] else {
            panic!("one row")
        };
        assert_eq!((row.metric.as_str(), row.higher_is_better), ("loss per word", false));
        close(Some(row.before), 3.0);
        close(Some(row.after), 10.0 / 3.0);
        close(Some(row.difference), 1.0 / 3.0);
        // The differences less their mean for so many units: 2/3, -3, 7/3.
        let squares: f64 = [2.0 / 3.0, -3.0, 7.0 / 3.0].iter().map(|d: &f64| d * d).sum();
        close(row.stderr, (1.5 * squares).sqrt() / 12.0);
        assert!(rows(&["word_perplexity"], &[]).is_empty());
    }
}
