use eval_tasks::{MetricValue, Request, Response, SampleScore, Task};
use serde_json::{Map, Value, json};

use crate::results::SampleRecord;

/// The lines of a document, one for each filter.
pub(super) fn records(
    task: &Task,
    score: &SampleScore,
    requests: &[&Request],
    responses: &[Vec<Response>],
) -> Vec<SampleRecord> {
    let doc = match serde_json::to_value(&task.documents()[score.document].row) {
        Ok(Value::Object(doc)) => doc,
        _ => Map::new(),
    };
    let answers = |repeats: &Vec<Response>| repeats.iter().map(response).collect::<Vec<_>>();
    let lines = score.filters.iter().map(|filter| SampleRecord {
        doc_id: score.document,
        doc: doc.clone(),
        target: score.target.clone(),
        arguments: requests.iter().map(|request| arguments(request)).collect(),
        resps: responses.iter().map(|repeats| json!(answers(repeats))).collect(),
        filtered_resps: filter.answers.clone(),
        filter: filter.filter.clone(),
        metrics: filter.metrics.iter().map(|metric| metric.metric.clone()).collect(),
        scores: filter.metrics.iter().map(|of| (of.metric.clone(), value(&of.value))).collect(),
    });
    lines.collect()
}

fn arguments(request: &Request) -> Value {
    match request {
        Request::LogLikelihood { context, continuation } => json!([context, continuation]),
        Request::LogLikelihoodRolling { text } => json!([text]),
        Request::GenerateUntil { context, generation } => json!([context, generation]),
        Request::SequenceClassification { text, text_pair } => json!([text, text_pair]),
        Request::ImageClassification { labels, .. } => json!([labels]),
    }
}

fn response(response: &Response) -> Value {
    match response {
        Response::LogLikelihood { log_likelihood, is_greedy } => json!([log_likelihood, is_greedy]),
        Response::LogLikelihoodRolling { log_likelihood } => json!(log_likelihood),
        Response::Generated(text) => json!(text),
        Response::Logits(logits) => json!(logits),
    }
}

/// As the harness writes them: numbers, and lists of what an aggregation needs.
fn value(value: &MetricValue) -> Value {
    match value {
        MetricValue::Number(number) => json!(number),
        MetricValue::Weighted { value, weight } => json!([value, weight]),
        MetricValue::Labels { gold, predicted } => json!([gold, predicted]),
        MetricValue::Probabilities { gold, probabilities } => json!([gold, probabilities]),
        MetricValue::Values { target, prediction } => json!([target, prediction]),
    }
}
