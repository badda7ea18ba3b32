use super::super::fixture::synthetic;
use super::*;
use crate::BaseResult;
use crate::MethodResults;

/// Knowledge and tasks of a run; `None` where it diverged.
type Run = Option<(f64, f64)>;

/// Methods of one amount of data, by seed.
fn small(methods: &[(&str, [Run; 3])]) -> StudyResults {
    let mut results = synthetic();
    results.samples = vec![100];
    results.baseline = "LoRA".to_owned();
    results.base = [0.8, 1.0, 1.0]
        .into_iter()
        .zip(0..)
        .map(|(knowledge, seed)| BaseResult {
            seed,
            knowledge,
            text_loss: 1.0,
            ..BaseResult::default()
        })
        .collect();
    let template = results.methods[0].clone();
    results.methods = methods
        .iter()
        .map(|(name, _)| MethodResults { name: (*name).to_owned(), ..template.clone() })
        .collect();
    let run = results.runs[0].clone();
    results.runs = methods
        .iter()
        .flat_map(|(name, values)| {
            values.iter().zip(0..).map(move |(value, seed)| (name, value, seed))
        })
        .map(|(name, value, seed)| RunRecord {
            method: (*name).to_string(),
            samples: 100,
            seed,
            diverged: value.is_none().then_some(Divergence::Loss { step: 7 }),
            measured: value.map(|(knowledge, tasks)| RunMeasures {
                knowledge,
                tasks,
                text_loss: 1.5,
                ..RunMeasures::default()
            }),
            ..run.clone()
        })
        .collect();
    results
}

fn near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-6, "{a} {b}");
}

#[test]
fn means_and_paired_differences_are_as_by_hand() {
    let results = small(&[
        ("LoRA", [Some((0.4, 0.9)), Some((0.6, 0.9)), Some((0.5, 0.9))]),
        ("MoE", [Some((0.5, 0.9)), Some((0.8, 0.9)), Some((0.7, 0.6))]),
    ]);
    let summary = StudySummary::of(&results);
    let cell = summary.cell("MoE", 100).unwrap();
    let knowledge = cell.get(Metric::Knowledge).unwrap();
    near(knowledge.estimate.mean, 2.0 / 3.0);
    // Differences 0.1, 0.2, 0.2: mean 1/6, s = √(1/300), half = 4.302653 · s / √3.
    let difference = knowledge.difference.unwrap();
    near(difference.mean, 1.0 / 6.0);
    near(difference.half_width.unwrap(), 4.302_653 / 30.0);
    assert_eq!(difference.n, 3);
    // The pairs differ clearly where the means do not.
    assert_eq!(difference.sign(), Some(true));
    // 0.5/0.8, 0.8 and 0.7 of what the base models know.
    near(cell.get(Metric::RelativeKnowledge).unwrap().estimate.mean, (0.625 + 0.8 + 0.7) / 3.0);
    near(cell.get(Metric::Score).unwrap().estimate.mean, (2.0 / 3.0 + 0.8) / 2.0);
    near(cell.get(Metric::TextLossChange).unwrap().estimate.mean, 0.5);
    assert_eq!(cell.get(Metric::Entropy), None);
    let baseline = summary.cell("LoRA", 100).unwrap().get(Metric::Knowledge).unwrap();
    assert_eq!(baseline.difference, None);
    near(summary.base(Metric::Knowledge).unwrap().mean, 2.8 / 3.0);
    assert_eq!(summary.base(Metric::TextLossChange), None);
}

#[test]
fn runs_that_diverged_are_counted_and_in_no_mean() {
    let mut results = small(&[
        ("LoRA", [Some((0.4, 0.9)), None, Some((0.6, 0.9))]),
        ("MoE", [Some((0.5, 0.9)), Some((0.1, 0.1)), None]),
        ("GOAT", [None, None, None]),
    ]);
    let summary = StudySummary::of(&results);
    let cell = summary.cell("MoE", 100).unwrap();
    assert_eq!(
        (cell.runs, cell.diverged.as_slice()),
        (3, &[DivergedRun { seed: 2, divergence: Divergence::Loss { step: 7 } }][..])
    );
    let knowledge = cell.get(Metric::Knowledge).unwrap();
    assert_eq!(knowledge.estimate.n, 2);
    near(knowledge.estimate.mean, 0.3);
    // Only seed 0 was measured in both.
    let difference = knowledge.difference.unwrap();
    assert_eq!((difference.n, difference.half_width), (1, None));
    near(difference.mean, 0.1);
    let cell = summary.cell("GOAT", 100).unwrap();
    assert_eq!((cell.runs, cell.diverged.len(), cell.metrics.len(), cell.front), (3, 3, 0, false));

    // Not even where it was measured, as a ruined model is.
    let ruined = Divergence::Ruined { text_loss: 8.0, base_text_loss: 1.0 };
    results.runs[0].diverged = Some(ruined);
    let summary = StudySummary::of(&results);
    assert_eq!(summary.cell("LoRA", 100).unwrap().get(Metric::Tasks).unwrap().estimate.n, 1);
}

#[test]
fn front_is_over_methods_and_amounts() {
    let mut results = synthetic();
    let summary = StudySummary::of(&results);
    assert_eq!(summary.cells.len(), 18);
    assert!(summary.cell("full fine-tuning", 4_800).unwrap().front);
    assert!(!summary.cell("LoRA", 4_800).unwrap().front);
    for run in results.runs.iter_mut().filter(|run| run.method == "LoRA" && run.samples == 4_800) {
        let measured = run.measured.as_mut().unwrap();
        (measured.knowledge, measured.tasks) = (1.0, 1.0);
    }
    let front: Vec<_> =
        StudySummary::of(&results).cells.into_iter().filter(|cell| cell.front).collect();
    assert_eq!((front.len(), front[0].method.as_str()), (1, "LoRA"));
}

#[test]
fn knowledge_at_equal_learning_is_read_off_each_seed() {
    let results = small(&[
        ("LoRA", [Some((0.4, 0.8)), Some((0.6, 0.8)), Some((0.6, 0.8))]),
        ("MoE", [Some((0.8, 0.4)), Some((1.0, 0.43)), None]),
    ]);
    let equal = StudySummary::of(&results).equal_learning.unwrap();
    near(equal.level, 0.4);
    assert_eq!((equal.set_by.as_str(), equal.kept[0].method.as_str()), ("MoE", "MoE"));
    near(equal.kept[0].estimate.mean, 0.9);
    // Half the way from the base models' 0.8, 1 and 1.
    near(equal.kept[1].estimate.mean, (0.6 + 0.8 + 0.8) / 3.0);
    assert_eq!(equal.kept[1].difference, None);
    let difference = equal.kept[0].difference.unwrap();
    assert_eq!(difference.n, 2);
    near(difference.mean, 0.2);

    let nothing = small(&[("LoRA", [Some((0.4, 0.01)), None, None]), ("MoE", [None; 3])]);
    assert_eq!(StudySummary::of(&nothing).equal_learning, None);
}

#[test]
fn numbers_that_json_lacks_come_back_as_nan() {
    let mut results = synthetic();
    results.base[0].text_loss = f64::NAN;
    results.methods[0].search[0].tasks = f64::INFINITY;
    let read: StudyResults =
        serde_json::from_str(&serde_json::to_string(&results).unwrap()).unwrap();
    assert!(read.base[0].text_loss.is_nan() && read.methods[0].search[0].tasks.is_nan());
    let diverged = read.runs.iter().find(|run| run.diverged.is_some()).unwrap();
    assert!(diverged.curve.last().unwrap().1.is_nan());
    assert_eq!(read.runs[0], results.runs[0]);
}
