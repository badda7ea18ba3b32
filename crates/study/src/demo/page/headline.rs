use report::format::{count, list, share};

use crate::ResultRow;
use crate::demo::DemoReport;
use crate::level::{STEP, common_level, knowledge_at};

/// What the methods keep at a level of learning that all of them reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Share of the tasks learned.
    pub level: f64,
    /// Share of the knowledge each method keeps there, most first.
    pub kept: Vec<(String, f64)>,
}

/// Compares the methods at the highest round level of tasks learned that each of them reaches.
///
/// Between two amounts of data a method's curve is taken as straight; it starts at the untuned model. `None` when
/// no method was measured or the highest common level is no higher than the untuned model's.
pub fn compare(report: &DemoReport) -> Option<Comparison> {
    let methods = report.methods();
    let reached = methods.iter().map(|method| most_learned(&report.curve(method)));
    let level = common_level(reached, report.base().map_or(0.0, |base| base.tasks))?;
    let mut kept = Vec::new();
    for method in methods {
        let points: Vec<_> = report.base().into_iter().chain(report.curve(method)).collect();
        kept.push((method.to_owned(), knowledge_at(&points, level)?));
    }
    kept.sort_by(|a, b| b.1.total_cmp(&a.1));
    Some(Comparison { level, kept })
}

/// The report's findings in words, the main one first.
pub fn headline(report: &DemoReport) -> Vec<String> {
    let mut sentences = vec![finding(report)];
    sentences.extend(reach(report));
    sentences.extend(unmeasured(report));
    sentences.extend(equal_data(report));
    if let Some(base) = report.base() {
        sentences.push(format!(
            "Before tuning, the model answers {} of the knowledge questions and {} of the tasks.",
            share(base.knowledge),
            share(base.tasks)
        ));
    }
    if report.questions > 0 {
        sentences.push(format!(
            "All of this is one seed and {} questions: differences in knowledge below {} are within \
             sampling error.",
            count(report.questions),
            share(noise(0.5, report.questions).max(0.01))
        ));
    }
    sentences
}

fn finding(report: &DemoReport) -> String {
    let methods = report.methods();
    let Some(comparison) = compare(report) else {
        return if methods.is_empty() {
            "No tuned model was measured.".to_owned()
        } else {
            format!(
                "The methods reach no common level of tasks learned ({}), so the knowledge they keep cannot be \
                 compared at equal learning.",
                list(
                    methods
                        .iter()
                        .map(|m| format!("{m} {}", share(most_learned(&report.curve(m)))))
                )
            )
        };
    };
    let level = share(comparison.level);
    let kept = &comparison.kept;
    match kept.as_slice() {
        [(method, value)] => {
            format!(
                "At {level} of the tasks learned, {method} keeps {} of the facts.",
                share(*value)
            )
        }
        [(_, most), .., (_, least)]
            if most - least <= noise((most + least) / 2.0, report.questions) =>
        {
            format!(
                "At equal tasks learned ({level}), {} keep about the same share of the facts: {}.",
                list(kept.iter().map(|(method, _)| method.clone())),
                list(kept.iter().map(|(_, value)| share(*value)))
            )
        }
        [(first, most), others @ ..] => format!(
            "At equal tasks learned ({level}), {first} keeps {} of the facts, {}.",
            share(*most),
            list(others.iter().map(|(method, value)| format!("{method} {}", share(*value))))
        ),
        [] => String::new(),
    }
}

/// Says so when some method learns clearly more than another ever does.
fn reach(report: &DemoReport) -> Option<String> {
    let methods = report.methods();
    let most: Vec<f64> = methods.iter().map(|method| most_learned(&report.curve(method))).collect();
    let highest = most.iter().copied().fold(f64::NAN, f64::max);
    let lowest = most.iter().copied().fold(f64::NAN, f64::min);
    (compare(report).is_some() && highest - lowest >= STEP).then(|| {
        format!(
            "The curves do not reach equally far: at most {} of the tasks; beyond the lower of these nothing can \
             be compared.",
            list(methods.iter().zip(&most).map(|(method, value)| format!("{} ({method})", share(*value))))
        )
    })
}

/// Says so when a value at the common level rests on the untuned model alone.
fn unmeasured(report: &DemoReport) -> Option<String> {
    let level = compare(report)?.level;
    let later: Vec<_> = report
        .methods()
        .into_iter()
        .filter(|method| report.curve(method).first().is_some_and(|row| row.tasks > level + 1e-9))
        .map(str::to_owned)
        .collect();
    (!later.is_empty()).then(|| {
        format!(
            "No run of {} learned less than that: the value is read off the straight line from the untuned model.",
            list(later.into_iter())
        )
    })
}

/// The methods side by side at the largest amount of data that all have in common.
fn equal_data(report: &DemoReport) -> Option<String> {
    let methods = report.methods();
    let curves: Vec<_> = methods.iter().map(|method| report.curve(method)).collect();
    let samples = curves
        .first()?
        .iter()
        .map(|row| row.samples)
        .filter(|&n| curves.iter().all(|curve| curve.iter().any(|row| row.samples == n)))
        .max()?;
    let parts = curves
        .iter()
        .filter_map(|curve| curve.iter().find(|row| row.samples == samples))
        .map(|row| {
            format!(
                "{} learns {} of the tasks and keeps {} of the facts",
                row.method,
                share(row.tasks),
                share(row.knowledge)
            )
        });
    (methods.len() > 1).then(|| {
        format!(
            "At equal data ({} samples), {}.",
            count(samples),
            parts.collect::<Vec<_>>().join("; ")
        )
    })
}

fn most_learned(curve: &[&ResultRow]) -> f64 {
    curve.iter().map(|row| row.tasks).fold(f64::NAN, f64::max)
}

/// Two standard errors of the difference between two shares near `p`, measured on `questions` questions each.
fn noise(p: f64, questions: usize) -> f64 {
    if questions == 0 {
        0.02
    } else {
        2.0 * (2.0 * p * (1.0 - p) / questions as f64).max(0.0).sqrt()
    }
}
