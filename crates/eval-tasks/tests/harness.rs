//! Requests, filtered answers, scores, aggregates and standard errors are those of the harness
//! itself, on invented data; `harness/make.py` made the reference.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};

use eval_tasks::{
    BoxError, ChatTemplate, ChatTurn, DataSources, Limit, MetricValue, PromptOptions, Request,
    Response, SampleScore, Selection, Task, TaskIndex, TaskSummary,
};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/harness")
}

/// The template of make.py.
struct Tags;

impl ChatTemplate for Tags {
    fn render(
        &self,
        messages: &[ChatTurn],
        add_generation_prompt: bool,
    ) -> Result<String, BoxError> {
        let turn = |turn: &ChatTurn| format!("<{0}>{1}</{0}>", turn.role, turn.content);
        let text: String = messages.iter().map(turn).collect();
        Ok(match add_generation_prompt {
            true => text + "<assistant>",
            false => text.strip_suffix("</assistant>").map(str::to_owned).unwrap_or(text),
        })
    }
}

fn run_options(run: &Value) -> PromptOptions<'_> {
    PromptOptions {
        system_instruction: run["system"].as_str(),
        chat_template: run["chat"].as_bool().unwrap_or(false).then_some(&Tags as &dyn ChatTemplate),
        fewshot_as_multiturn: run["multiturn"].as_bool().unwrap_or(false),
        ..PromptOptions::default()
    }
}

fn arguments(request: &Request) -> Value {
    match request {
        Request::LogLikelihood { context, continuation } => json!([context, continuation]),
        Request::LogLikelihoodRolling { text } => json!([text]),
        Request::GenerateUntil { context, .. } => json!([context]),
        _ => Value::Null,
    }
}

fn response(kind: &str, value: &Value) -> Response {
    match kind {
        "loglikelihood" => Response::LogLikelihood {
            log_likelihood: value[0].as_f64().unwrap(),
            is_greedy: value[1].as_bool().unwrap(),
        },
        "loglikelihood_rolling" => {
            Response::LogLikelihoodRolling { log_likelihood: value.as_f64().unwrap() }
        }
        _ => Response::Generated(value.as_str().unwrap().to_owned()),
    }
}

/// As make.py's JSON has it.
fn plain(value: &MetricValue) -> Value {
    match value {
        MetricValue::Number(value) => json!(value),
        MetricValue::Weighted { value, weight } => json!([value, weight]),
        MetricValue::Labels { gold, predicted } => json!([gold, predicted]),
        MetricValue::Probabilities { gold, probabilities } => json!([gold, probabilities]),
        MetricValue::Values { target, prediction } => json!([target, prediction]),
    }
}

/// Equal, numbers up to rounding.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (a, b) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * b.abs().max(1.0),
            _ => a == b,
        },
    }
}

fn selected(name: &str) -> Selection {
    let index = TaskIndex::with_folders(&[folder().join("tasks")]).unwrap();
    index.select(&[name]).unwrap()
}

fn run_task(task: &Task, run: &Value, reference: &Value, label: &str) -> Vec<SampleScore> {
    let limit = run["limit"].as_u64().map_or(Limit::All, |count| Limit::Count(count as usize));
    let instances = task.instances(&run_options(run), limit).unwrap();
    let expected = reference["instances"].as_array().unwrap();
    assert_eq!(instances.len(), expected.len(), "{label}: requests");
    let mut responses: Vec<Vec<Vec<Response>>> = Vec::new();
    for (instance, expected) in instances.iter().zip(expected) {
        let place = format!("{label}, document {}, request {}", instance.document, instance.index);
        assert_eq!(expected["doc_id"], instance.document, "{place}");
        let mut found = arguments(&instance.request);
        if let Request::GenerateUntil { generation, .. } = &instance.request {
            let kwargs = &expected["arguments"][1];
            assert_eq!(kwargs["until"], json!(generation.until), "{place}");
            found.as_array_mut().unwrap().push(kwargs.clone());
        }
        assert_eq!(found, expected["arguments"], "{place}");
        let answers = expected["resps"].as_array().unwrap();
        assert_eq!(answers.len(), instance.repeats, "{place}");
        let kind = expected["type"].as_str().unwrap();
        responses.resize(responses.len().max(instance.document + 1), Vec::new());
        let answers = answers.iter().map(|answer| response(kind, answer)).collect();
        responses[instance.document].push(answers);
    }
    responses
        .iter()
        .enumerate()
        .map(|(document, responses)| task.score(document, responses).unwrap())
        .collect()
}

fn compare_samples(scores: &[SampleScore], reference: &Value, label: &str) {
    for sample in reference["samples"].as_array().unwrap() {
        let document = sample["doc_id"].as_u64().unwrap() as usize;
        let place = format!("{label}, document {document}, filter {}", sample["filter"]);
        let score = &scores[document];
        assert!(same(&score.target, &sample["target"]), "{place}: target {}", score.target);
        let filter = score.filters.iter().find(|f| sample["filter"] == f.filter.as_str()).unwrap();
        assert!(same(&json!(filter.answers), &sample["filtered"]), "{place}: {:?}", filter.answers);
        let metrics = sample["metrics"].as_object().unwrap();
        assert_eq!(filter.metrics.len(), metrics.len(), "{place}");
        for metric in &filter.metrics {
            let (found, expected) = (plain(&metric.value), &metrics[&metric.metric]);
            assert!(same(&found, expected), "{place}: {} {found} for {expected}", metric.metric);
        }
    }
}

fn compare_results(summary: &TaskSummary, results: &Value, label: &str) {
    assert!(!summary.metrics.is_empty(), "{label}");
    for result in &summary.metrics {
        let (value, error) = (&results[&result.key()], &results[&result.stderr_key()]);
        let found = json!(result.value);
        assert!(same(&found, value), "{label}: {} {found} for {value}", result.key());
        match result.stderr {
            Some(found) => assert!(
                same(&json!(found), error),
                "{label}: {} {found} for {error}",
                result.stderr_key()
            ),
            None => assert_eq!(error, "N/A", "{label}: {}", result.stderr_key()),
        }
    }
}

#[test]
fn everything_equals_the_harness() {
    let text = std::fs::read_to_string(folder().join("golden.json")).unwrap();
    let golden: Value = serde_json::from_str(&text).unwrap();
    let sources = DataSources { roots: vec![folder()], hub: None };
    let mut instances = 0;
    for run in golden["runs"].as_array().unwrap() {
        let name = run["task"].as_str().or(run["group"].as_str()).unwrap();
        let iterations = run["iterations"].as_u64().unwrap() as usize;
        let shots = run["num_fewshot"].as_u64().map(|count| count as usize);
        let selection = selected(name);
        let mut summaries = std::collections::BTreeMap::new();
        for (task_name, config) in selection.tasks {
            let label = format!("{name} {shots:?} {}", run["chat"]);
            let reference = &run["tasks"][&task_name];
            assert!(reference.is_object(), "{label}: the harness has no {task_name}");
            let task = Task::load(config, &sources, shots).unwrap();
            let scores = run_task(&task, run, reference, &label);
            compare_samples(&scores, reference, &label);
            let summary = task.aggregate(&scores, iterations).unwrap();
            compare_results(&summary, &reference["results"], &label);
            instances += reference["instances"].as_array().unwrap().len();
            summaries.insert(task_name, summary);
        }
        for (group_name, group) in selection.groups {
            let below: Vec<&TaskSummary> =
                group.tasks.iter().map(|task| &summaries[task]).collect();
            let summary = TaskSummary::of_group(&below, &group.metrics);
            let reference = &run["groups"][&group_name];
            compare_results(&summary, reference, &group_name);
            assert_eq!(reference["sample_len"], summary.documents, "{group_name}");
        }
    }
    println!("{instances} requests compared");
    assert!(instances > 300);
}
