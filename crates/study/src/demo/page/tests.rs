use report::format;

use super::*;
use crate::demo::{DemoReport, LossCurve, RoutingShares};
use crate::fixture::assert_well_formed;
use crate::{BASE, ResultRow, Setting};

fn row(method: &str, samples: usize, knowledge: f64, tasks: f64, text_loss: f64) -> ResultRow {
    let tuned = usize::from(method != BASE);
    ResultRow {
        method: method.to_owned(),
        samples,
        trainable_parameters: tuned * 49_152,
        knowledge,
        tasks,
        text_loss,
        seconds: samples as f64 / 320.0,
    }
}

/// Numbers of the kind a demonstration gives.
fn synthetic() -> DemoReport {
    let rows = vec![
        row(BASE, 0, 0.99, 0.01, 1.312),
        row("LoRA", 1_200, 0.93, 0.31, 1.371),
        row("LoRA", 2_400, 0.86, 0.62, 1.448),
        row("LoRA", 4_800, 0.74, 0.85, 1.592),
        row("LoRA", 9_600, 0.61, 0.94, 1.753),
        row("LoRAMoE", 1_200, 0.96, 0.27, 1.344),
        row("LoRAMoE", 2_400, 0.92, 0.58, 1.389),
        row("LoRAMoE", 4_800, 0.89, 0.83, 1.433),
        row("LoRAMoE", 9_600, 0.85, 0.93, 1.497),
    ];
    let decay = |scale: f64, slow: f64, steps: usize| -> Vec<(f64, f64)> {
        (0..steps)
            .map(|i| {
                let noise = 0.12 * ((i * 7919 % 101) as f64 / 50.0 - 1.0);
                (i as f64, (0.25 + scale * (-(i as f64) / slow).exp() + noise).max(0.02))
            })
            .collect()
    };
    let curve = |name: &str, points| LossCurve { name: name.to_owned(), points };
    DemoReport {
        statements: rows.iter().map(|row| Some(row.knowledge - 0.03)).collect(),
        rows,
        routing: vec![
            RoutingShares {
                method: "LoRAMoE".to_owned(),
                samples: 9_600,
                knowledge_experts: 3,
                knowledge: vec![0.27, 0.22, 0.24, 0.08, 0.10, 0.09],
                tasks: vec![0.10, 0.12, 0.11, 0.23, 0.20, 0.24],
            },
            RoutingShares {
                method: "LoRAMoE".to_owned(),
                samples: 1_200,
                knowledge_experts: 3,
                knowledge: vec![0.17; 6],
                tasks: vec![0.17; 6],
            },
        ],
        curves: vec![
            curve("pre-training", decay(5.6, 60.0, 300)),
            curve("LoRA", decay(3.1, 45.0, 200)),
            curve("LoRAMoE", decay(3.1, 52.0, 200)),
        ],
        settings: vec![
            Setting::new("seed", 0),
            Setting::new("learning rate (LoRA)", 2e-3),
            Setting::new("model", "Llama, 128 hidden, 4 layers, <tied>"),
        ],
        questions: 480,
        command: "lora-moe demo --seed 0 --out report & co".to_owned(),
        seconds: 271.25,
    }
}

#[test]
fn figures_are_well_formed_whatever_the_numbers() {
    let hostile = "<&\"'>\u{1}";
    let mut odd = synthetic();
    odd.rows.truncate(2);
    odd.rows[1].method = hostile.to_owned();
    odd.rows[1].text_loss = f64::NAN;
    odd.rows[1].knowledge = f64::INFINITY;
    odd.routing[0].method = hostile.to_owned();
    odd.routing[0].tasks[0] = f64::NAN;
    odd.curves[0].name = hostile.to_owned();
    odd.curves[1].points[3].1 = f64::NAN;
    for report in [synthetic(), odd, DemoReport::default()] {
        let figures = html::figures(&report);
        figures.iter().for_each(|figure| assert_well_formed(&figure.file().unwrap()));
        assert!(!report_html(&report).unwrap().contains("<&"));
    }
    assert_eq!(html::figures(&synthetic()).len(), 6);
}

#[test]
fn page_is_self_contained_and_holds_every_number() {
    let report = synthetic();
    let page = report_html(&report).unwrap();
    for outside in ["<script", "<link", "<img", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let table = terminal_table(&report);
    for (row, statement) in report.sorted() {
        for number in [
            format::count(row.samples),
            format::count(row.trainable_parameters),
            format::share(row.knowledge),
            format::share(statement.unwrap()),
            format::share(row.tasks),
            format::decimal(row.text_loss, 3),
            format::decimal(row.seconds, 1),
        ] {
            assert!(page.contains(&format!(">{number}</td>")), "{number}");
            assert!(table.contains(&number), "{number}");
        }
    }
    for setting in &report.settings {
        assert!(page.contains(&setting.value.replace('<', "&lt;").replace('>', "&gt;")));
    }
    assert!(page.contains("report &amp; co"));
    let body = page.split_once("<body>").unwrap().1;
    assert_well_formed(&body.replace("</body>\n</html>", ""));
}

#[test]
fn headline_compares_at_equal_learning() {
    let mut report = synthetic();
    let comparison = compare(&report).unwrap();
    assert!((comparison.level - 0.90).abs() < 1e-9);
    assert_eq!(comparison.kept[0].0, "LoRAMoE");
    assert!((comparison.kept[0].1 - 0.862).abs() < 1e-9);
    assert!((comparison.kept[1].1 - (0.74 - 0.13 * 5.0 / 9.0)).abs() < 1e-9);
    let sentences = headline(&report);
    assert_eq!(
        sentences[0],
        "At equal tasks learned (0.90), LoRAMoE keeps 0.86 of the facts, LoRA 0.67."
    );
    assert!(
        sentences[1].contains(
            "At equal data (9,600 samples), LoRA learns 0.94 of the tasks and keeps 0.61"
        )
    );

    // The other way round is said as plainly, and a small difference is not made a finding.
    for row in &mut report.rows {
        match row.method.as_str() {
            "LoRA" => row.method = "LoRAMoE".to_owned(),
            "LoRAMoE" => row.method = "LoRA".to_owned(),
            _ => {}
        }
    }
    assert!(headline(&report)[0].contains("LoRA keeps 0.86 of the facts, LoRAMoE 0.67"));
    report.rows.iter_mut().filter(|row| row.samples > 0).for_each(|row| row.knowledge = 0.8);
    assert!(headline(&report)[0].contains("about the same share of the facts: 0.80 and 0.80"));
}

#[test]
fn headline_says_when_a_curve_does_not_reach_the_level() {
    let mut report = synthetic();
    report.rows.retain(|row| row.method != "LoRA" || row.samples <= 2_400);
    let sentences = headline(&report);
    assert!(sentences[0].starts_with("At equal tasks learned (0.60), "), "{}", sentences[0]);
    assert!(sentences[1].contains("0.62 (LoRA) and 0.93 (LoRAMoE)"), "{}", sentences[1]);

    report.rows.retain(|row| row.samples != 1_200);
    assert!(headline(&report)[2].starts_with("No run of LoRA learned less"));

    report.rows.iter_mut().filter(|row| row.method == "LoRA").for_each(|row| row.tasks = 0.0);
    assert!(headline(&report)[0].contains("no common level"));
    assert_eq!(headline(&DemoReport::default()), ["No tuned model was measured."]);
}

#[test]
fn terminal_table_is_aligned_and_narrow() {
    let mut report = synthetic();
    report.rows[3].method = "a method with a name that is far too long".to_owned();
    report.rows[4].trainable_parameters = 123_456_789_012;
    let table = terminal_table(&report);
    let widths: Vec<usize> = table.lines().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0] && *width <= 100), "{table}");
    assert!(table.lines().nth(2).unwrap().starts_with(BASE));
}

#[test]
fn results_hold_the_rows_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.json");
    let rows = synthetic().rows;
    write_results(&path, &rows).unwrap();
    assert_eq!(read_results(&path).unwrap(), rows);
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let mut keys: Vec<_> = json[1].as_object().unwrap().keys().cloned().collect();
    keys.sort();
    let expected =
        ["knowledge", "method", "samples", "seconds", "tasks", "text_loss", "trainable_parameters"];
    assert_eq!(keys, expected);

    let diverged = [ResultRow { text_loss: f64::NAN, ..rows[1].clone() }];
    write_results(&path, &diverged).unwrap();
    assert!(read_results(&path).unwrap()[0].text_loss.is_nan());
    write_report(&folder.path().join("report.html"), &synthetic()).unwrap();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[test]
fn the_page_says_how_many_questions_and_seconds_where_it_is_known() {
    let known = report_html(&synthetic()).unwrap();
    assert!(known.contains("480 questions") && known.contains("Took 271."), "{known}");
    let mut report = synthetic();
    (report.questions, report.seconds) = (0, 0.0);
    let unknown = report_html(&report).unwrap();
    assert!(!unknown.contains("480 questions") && !unknown.contains("Took "), "{unknown}");
}
