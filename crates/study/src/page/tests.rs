use std::fs;

use super::csv::rows;
use super::*;
use crate::fixture::assert_well_formed;
pub(super) use crate::fixture::synthetic;
use crate::{Divergence, Metric, StudyResults, StudySummary};

fn sentences(results: &StudyResults) -> Vec<String> {
    study_headline(results, &StudySummary::of(results))
}

fn written(results: &StudyResults) -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    write_study_report(results, folder.path()).unwrap();
    let names = |path: &std::path::Path| -> Vec<String> {
        let entries = fs::read_dir(path).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let mut all = names(folder.path());
    all.extend(names(&folder.path().join("figures")).iter().map(|name| format!("figures/{name}")));
    all.sort();
    (folder, all)
}

/// Only some seeds.
fn with_seeds(seeds: &[u64]) -> StudyResults {
    let mut results = synthetic();
    results.seeds.retain(|seed| seeds.contains(seed));
    results.base.retain(|base| seeds.contains(&base.seed));
    results.runs.retain(|run| seeds.contains(&run.seed));
    results
}

#[test]
fn every_file_is_written_and_nothing_else() {
    let (folder, names) = written(&synthetic());
    let routed = ["adamole", "goat", "hydralora", "lora-moe", "loramoe", "mixlora", "mola", "slim"];
    let mut expected: Vec<String> = [
        "curves.csv",
        "equal_learning.csv",
        "figures",
        "methods.csv",
        "report.html",
        "results.json",
        "routing.csv",
        "runs.csv",
        "scores.csv",
        "search.csv",
        "summary.csv",
        "summary.json",
    ]
    .map(str::to_owned)
    .to_vec();
    let figures = ["forgetting", "plane", "differences", "learning", "text", "cost-training"];
    expected.extend(
        figures
            .iter()
            .chain(&["cost-generation", "losses"])
            .map(|name| format!("figures/{name}.svg")),
    );
    let routed = routed.iter().filter(|name| **name != "lora-moe");
    expected.extend(routed.map(|name| format!("figures/routing-{name}.svg")));
    expected.sort();
    assert_eq!(names, expected);
    for name in names.iter().filter(|name| name.ends_with(".svg")) {
        assert_well_formed(&fs::read_to_string(folder.path().join(name)).unwrap());
    }
}

#[test]
fn results_and_summary_come_back_from_json() {
    let mut results = synthetic();
    for run in &mut results.runs {
        run.curve.retain(|point| point.1.is_finite());
    }
    let (folder, _) = written(&results);
    assert_eq!(read_study_results(&folder.path().join("results.json")).unwrap(), results);
    let text = fs::read_to_string(folder.path().join("summary.json")).unwrap();
    let summary: StudySummary = serde_json::from_str(&text).unwrap();
    assert_eq!(summary.cells.len(), 18);
    let error = read_study_results(&folder.path().join("summary.json")).unwrap_err().to_string();
    assert!(error.contains("summary.json does not hold the results of a study"), "{error}");
}

#[test]
fn csv_holds_every_number() {
    let mut results = synthetic();
    results.methods[1].description = "quoted, \"twice\"\nand broken".to_owned();
    let (folder, _) = written(&results);
    let read = |name: &str| rows(&fs::read_to_string(folder.path().join(name)).unwrap());
    let number = |text: &str| text.parse::<f64>().unwrap();

    let runs = read("runs.csv");
    assert_eq!(runs.len(), 1 + 54);
    assert!(runs.iter().all(|row| row.len() == 6 + Metric::ALL.len()));
    for (row, run) in runs[1..].iter().zip(&results.runs) {
        assert_eq!((&row[0], number(&row[1])), (&run.method, run.seed as f64));
        match &run.measured {
            Some(measured) => assert_eq!(number(&row[6]), measured.knowledge),
            None => {
                assert_eq!(row[4], "loss no number at step 61");
                assert!(row[6..].iter().all(String::is_empty), "{row:?}");
            }
        }
    }

    let summary = StudySummary::of(&results);
    let table = read("summary.csv");
    assert!(table.iter().all(|row| row.len() == 18), "{:?}", table[0]);
    for cell in &summary.cells {
        for own in &cell.metrics {
            let found: Vec<_> = table
                .iter()
                .filter(|row| row[0] == cell.method && row[1] == cell.samples.to_string())
                .filter(|row| row[2] == own.metric.key())
                .collect();
            assert_eq!(found.len(), 1);
            assert_eq!(number(&found[0][6]), own.estimate.n as f64);
            assert!((number(&found[0][7]) - own.estimate.mean).abs() < 1e-12);
            assert_eq!(found[0][14].is_empty(), own.difference.is_none());
        }
    }
    let adamole = table.iter().find(|row| row[0] == "AdaMoLE" && row[1] == "4800").unwrap();
    assert_eq!(adamole[3..7], ["3", "1", "false", "2"]);

    assert_eq!(read("methods.csv")[2][1], results.methods[1].description);
    let search = read("search.csv");
    assert_eq!(search.len(), 1 + 8 * 4);
    let points = results.methods.iter().flat_map(|method| &method.search);
    for (row, point) in search[1..].iter().zip(points) {
        assert_eq!(number(&row[1]), point.learning_rate);
        assert_eq!(row[2] == "true", point.learning_rate == 1e-3);
        assert_eq!(row[3] == "true", point.diverged);
        let expected = Some(point.tasks).filter(|_| !point.diverged);
        assert_eq!((!row[4].is_empty()).then(|| number(&row[4])), expected);
    }
    assert_eq!(read("equal_learning.csv").len(), 1 + 9);
    // Seven mixtures of 3 seeds and 2 amounts less the diverged run, 8 routers, 3 kinds, 8 experts.
    assert_eq!(read("routing.csv").len(), 1 + 41 * 8 * 3 * 8);
    let points: usize = results.runs.iter().map(|run| run.curve.len()).sum();
    assert_eq!(read("curves.csv").len(), 1 + points);
}

#[test]
fn page_is_self_contained_and_well_formed() {
    let page = study_html(&synthetic()).unwrap();
    for outside in ["<link", "<img", "src=", "@import", "url(", "fetch(", "XMLHttp"] {
        assert!(!page.contains(outside), "{outside}");
    }
    let body = page.split_once("<body>").unwrap().1.split_once("<script>").unwrap().0;
    assert_well_formed(body);
    assert!(body.contains("&lt;2 selected&gt;") && body.contains("report &amp; co"));
    assert!(body.contains("1 of 3") && body.contains("n = 2"));
}

#[test]
fn page_stands_whatever_was_measured() {
    let hostile = "<&\"'>\u{1}, x";
    let mut odd = synthetic();
    for name in ["GOAT", "SLIM"] {
        odd.methods.iter_mut().filter(|m| m.name == name).for_each(|m| m.name = hostile.to_owned());
        odd.runs
            .iter_mut()
            .filter(|r| r.method == name)
            .for_each(|r| r.method = hostile.to_owned());
    }
    odd.methods.pop();
    odd.runs[0].measured.as_mut().unwrap().text_loss = f64::NAN;
    odd.base[0].knowledge = f64::NAN;
    let mut lost = synthetic();
    for run in &mut lost.runs {
        (run.diverged, run.measured) = (Some(Divergence::Loss { step: 1 }), None);
        run.curve.clear();
    }
    let mut bare = synthetic();
    bare.methods.iter_mut().for_each(|method| method.cost = None);
    bare.methods.iter_mut().for_each(|method| method.search.clear());
    bare.base.clear();
    for run in &mut bare.runs {
        run.curve.clear();
        run.measured.iter_mut().for_each(|measured| measured.routing = None);
    }
    let empty =
        StudyResults { methods: Vec::new(), runs: Vec::new(), base: Vec::new(), ..synthetic() };
    for results in [odd, lost, bare, with_seeds(&[0]), empty] {
        let page = study_html(&results).unwrap();
        let body = page.split_once("<body>").unwrap().1.split_once("<script>").unwrap().0;
        assert_well_formed(body);
        let (folder, names) = written(&results);
        for name in names.iter().filter(|name| name.ends_with(".svg")) {
            assert_well_formed(&fs::read_to_string(folder.path().join(name)).unwrap());
        }
    }
}

#[test]
fn headline_calls_different_only_what_is() {
    let sentences = sentences(&synthetic());
    let all = sentences.join("\n");
    assert!(sentences[0].starts_with("After 4,800 tuning samples, "), "{all}");
    assert!(sentences[0].contains("more knowledge than LoRA (0."), "{all}");
    assert!(sentences[0].contains("full fine-tuning (\u{2212}0.2"), "{all}");
    assert!(sentences[0].contains("not distinguishable from LoRA with 3 seeds"), "{all}");
    assert!(
        all.contains(
            "1 of 54 runs diverged: AdaMoLE (seed 1, 4,800 samples, loss no number at step 61). \
             It is in no mean."
        ),
        "{all}"
    );
    assert!(all.contains("Before tuning, knowledge is 0.98 and tasks learned 0.01."), "{all}");
    assert!(all.contains("At equal tasks learned ("), "{all}");

    // Every difference the sentence names as one leaves out zero.
    let summary = StudySummary::of(&synthetic());
    let clear = sentences[0].split("; ").filter(|part| !part.contains("not distinguishable"));
    let clear = clear.collect::<Vec<_>>().join("; ");
    for method in synthetic().methods.iter().map(|method| method.name.as_str()) {
        let own = summary.cell(method, 4_800).unwrap().get(Metric::Knowledge).unwrap();
        // With the space before it, so that a name that ends in another is not taken for it.
        let said = clear.contains(&format!(" {method} (+"))
            || clear.contains(&format!(" {method} (\u{2212}"));
        assert_eq!(said, own.difference.is_some_and(|d| d.sign().is_some()), "{method}: {clear}");
    }
}

#[test]
fn one_seed_finds_no_difference() {
    let results = with_seeds(&[0]);
    let all = sentences(&results).join("\n");
    assert!(
        all.contains("not distinguishable from LoRA (0.71) in knowledge kept with 1 seed"),
        "{all}"
    );
    assert!(!all.contains("more knowledge"), "{all}");
    assert!(study_html(&results).unwrap().contains("n = 1"));
}

#[test]
fn headline_says_when_there_is_nothing_to_compare_with() {
    let mut results = synthetic();
    for run in results.runs.iter_mut().filter(|run| run.method == "LoRA") {
        (run.diverged, run.measured) = (Some(Divergence::Loss { step: 1 }), None);
    }
    assert!(sentences(&results)[0].contains("nothing could be compared with LoRA"));
    assert!(study_html(&results).unwrap().contains(">diverged</td>"));
    results.runs.clear();
    assert_eq!(sentences(&results)[0], "No run was measured.");
}

#[test]
fn what_is_missing_is_said_right_after_the_finding() {
    let mut results = synthetic();
    let run = results.runs.pop().unwrap();
    results.missing = vec![format!("runs/{}-seed{}-{}", run.method, run.seed, run.samples)];
    let said = &sentences(&results)[1];
    assert!(said.contains("1 run is missing: runs/") && said.contains(&run.method), "{said}");
    assert!(study_html(&results).unwrap().contains("1 run is missing"));
    results.missing = (0..20).map(|at| format!("runs/{at}")).collect();
    assert!(sentences(&results)[1].contains("20 runs are missing"));
    assert!(sentences(&results)[1].contains("8 more"), "{}", sentences(&results)[1]);
}

#[test]
fn a_folder_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("taken");
    fs::write(&file, "").unwrap();
    let error = write_study_report(&synthetic(), &file).unwrap_err().to_string();
    assert!(error.starts_with("cannot access") && error.contains("taken"), "{error}");
    let error = read_study_results(&folder.path().join("none.json")).unwrap_err().to_string();
    assert!(error.contains("none.json"), "{error}");
}
