//! Tokens that are new to the model.

use std::path::Path;

use serde_json::Value;

use super::{Run, losses};
use crate::support::{arg, fails, succeeds};

/// The rows of new tokens are trained, kept with the tokenizer beside the adapter, and merged.
#[test]
fn new_tokens_are_learned_and_go_with_the_adapter() {
    let run = Run::new();
    let output = run.output("tokens");
    let set = format!("training.output_dir={}", arg(&output));
    let tokens = "model.new_tokens=[\"<tool>\", \"</tool>\"]";
    let plain = ["--set", "adapter={ preset = 'lora', r = 2 }", "--set", tokens];
    let error = fails(&[&["train", "--config", &run.config, "--set", &set], &plain[..]].concat());
    let expected = "`model.new_tokens` adds rows that nothing trains; put [\"embed_tokens\", \
                    \"lm_head\"] into `adapter.modules_to_save`, or train these rows alone: set \
                    `adapter.trainable_token_indices` of [\"embed_tokens\", \"lm_head\"] to [";
    assert!(error.contains(expected), "{error}");
    let ids = error.split(expected).nth(1).unwrap().split(']').next().unwrap();

    let records: Vec<Value> = serde_json::from_slice(&std::fs::read(&run.data).unwrap()).unwrap();
    let records: Vec<Value> = records
        .into_iter()
        .map(|mut record| {
            let answer = format!("<tool> {} </tool>", record["output"].as_str().unwrap());
            record["output"] = answer.into();
            record
        })
        .collect();
    std::fs::write(&run.data, serde_json::to_string(&records).unwrap()).unwrap();
    let whole = "adapter.modules_to_save=[\"embed_tokens\", \"lm_head\"]".to_owned();
    let rows = format!("adapter.trainable_token_indices={{embed_tokens=[{ids}],lm_head=[{ids}]}}");
    for (name, rows) in [("whole", whole), ("rows", rows)] {
        learns_tokens(&run, name, &plain, &rows);
    }
}

/// With the rows of new tokens trained by a key.
fn learns_tokens(run: &Run, name: &str, plain: &[&str], key: &str) {
    let output = run.output(name);
    let more = [plain, &["--set", key, "--set", "training.save_steps=6"]].concat();
    run.train(&output, &more);
    let found = losses(&output);
    assert!(found[found.len() - 1].1 < found[0].1, "{found:?}");
    // A checkpoint is gone on from with the same recipe.
    let checkpoint = output.join("checkpoint-6");
    let resume = [&more[..], &["--resume", arg(&checkpoint)]].concat();
    run.train(&output, &resume);

    let generated = |model: &str, adapter: &[&str]| {
        let arguments = ["generate", "--model", model, "--prompt", "<tool>"];
        succeeds(&[&arguments[..], &["--max-new-tokens", "5"], adapter].concat())
    };
    let adapted = generated(&run.model, &["--adapter", arg(&output)]);
    assert!(adapted.starts_with("<tool>"), "{adapted}");
    let merged = run.output(&format!("{name}-merged"));
    let paths = ["--adapter", arg(&output), "--output", arg(&merged)];
    succeeds(&[&["merge", "--model", &run.model], &paths[..]].concat());
    assert_eq!(generated(arg(&merged), &[]), adapted);
    let size = |folder: &str| {
        let config = std::fs::read(Path::new(folder).join("config.json")).unwrap();
        serde_json::from_slice::<Value>(&config).unwrap()["vocab_size"].as_u64().unwrap()
    };
    assert_eq!(size(arg(&merged)), size(&run.model) + 2);
}
