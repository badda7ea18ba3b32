use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};

use super::app::App;
use super::error::with_type;
use crate::engine::{BUCKETS, Stats, Times};

/// `GET /metrics`: Prometheus' text format.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Response<Body> {
    let text = text(app.engine.stats(), app.engine.config().cache_tokens);
    with_type(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
}

fn text(stats: &Stats, cache_tokens: usize) -> String {
    let mut out = String::new();
    let mut write = |kind: &str, name: &str, help: &str, value: &AtomicU64| {
        let value = value.load(Ordering::Relaxed);
        // Writing to a text cannot fail.
        let _ = writeln!(out, "# HELP lora_moe_{name} {help}");
        let _ = writeln!(out, "# TYPE lora_moe_{name} {kind}\nlora_moe_{name} {value}");
    };
    let most = AtomicU64::new(cache_tokens as u64);
    write("gauge", "requests_waiting", "Requests that wait.", &stats.waiting);
    write("gauge", "requests_reading", "Requests whose prompts are read.", &stats.reading);
    write("gauge", "requests_running", "Requests that are continued.", &stats.running);
    write("gauge", "cached_tokens", "Tokens with keys and values.", &stats.cached_tokens);
    write("gauge", "cached_tokens_most", "The most of them.", &most);
    for (name, help, value) in [
        ("prompt_tokens_total", "Tokens of prompts that were read.", &stats.prompt_tokens),
        ("prefix_tokens_total", "Tokens of prompts known from others.", &stats.prefix_tokens),
        ("generated_tokens_total", "New tokens.", &stats.generated_tokens),
        ("requests_finished_total", "Requests that came to their end.", &stats.finished),
        ("requests_failed_total", "Requests that failed.", &stats.failed),
        ("requests_cancelled_total", "Requests whose client left.", &stats.cancelled),
        ("requests_refused_total", "Requests refused by a full queue.", &stats.refused),
        ("preemptions_total", "Rows that made room for others.", &stats.preempted),
        ("steps_total", "Steps of the running rows.", &stats.steps),
    ] {
        write("counter", name, help, value);
    }
    first_token(&mut out, &stats.first_token());
    let name = "lora_moe_expert_weight_total";
    let _ = writeln!(out, "# HELP {name} Weights of experts in the steps that were looked at.");
    let _ = writeln!(out, "# TYPE {name} counter");
    for (adapter, weights) in stats.expert_load() {
        let adapter = adapter.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        for (expert, weight) in weights.iter().enumerate() {
            let _ = writeln!(out, "{name}{{adapter=\"{adapter}\",expert=\"{expert}\"}} {weight}");
        }
    }
    out
}

fn first_token(out: &mut String, times: &Times) {
    let name = "lora_moe_time_to_first_token_seconds";
    let _ = writeln!(out, "# HELP {name} From arrival to the first token.");
    let _ = writeln!(out, "# TYPE {name} histogram");
    let mut count = 0;
    for (end, own) in BUCKETS.iter().zip(times.counts) {
        count += own;
        let _ = writeln!(out, "{name}_bucket{{le=\"{end}\"}} {count}");
    }
    count += times.counts[BUCKETS.len()];
    let _ = writeln!(out, "{name}_bucket{{le=\"+Inf\"}} {count}");
    let _ = writeln!(out, "{name}_sum {}\n{name}_count {count}", times.sum);
}
