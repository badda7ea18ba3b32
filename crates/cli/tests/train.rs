//! `lora-moe train`, `eval` and `generate --adapter`, through the command.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::path::Path;

use serde_json::Value;
use support::{arg, fails, lora_moe, succeeds, tiny_model};

struct Run {
    folder: tempfile::TempDir,
    config: String,
    model: String,
    data: String,
}

impl Run {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, data) = tiny_model(folder.path());
        let config = folder.path().join("run.toml");
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\npreset = \"loramoe-paper\"\nr = 2\n\
             [data]\ntrain = [{{ path = {data:?} }}]\nvalidation_split = 20\n\
             template = \"plain\"\n[training]\noutput_dir = \"unset\"\n\
             learning_rate = 5e-3\nmax_steps = 12\nlogging_steps = 1\n\
             gradient_accumulation_steps = 2\nper_device_train_batch_size = 4\n"
        );
        std::fs::write(&config, text).unwrap();
        Self {
            config: arg(&config).into(),
            model: arg(&model).into(),
            data: arg(&data).into(),
            folder,
        }
    }

    fn output(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn train(&self, output: &Path, more: &[&str]) {
        let set = format!("training.output_dir={}", arg(output));
        let mut arguments = vec!["train", "--config", &self.config, "--set", &set];
        arguments.extend(more);
        succeeds(&arguments);
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn losses(output: &Path) -> Vec<(u64, f64, f64)> {
    let text = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["loss"].is_number())
        .map(|line| {
            // A single adapter has no balance loss.
            let balance = line["balance_loss"].as_f64().unwrap_or_default();
            (line["step"].as_u64().unwrap(), line["loss"].as_f64().unwrap(), balance)
        })
        .collect()
}

/// Trains once in one go, and once resumed from the checkpoint of step 10 of 12, with the same result.
fn resumes(set: &[&str]) -> Vec<(u64, f64, f64)> {
    let run = Run::new();
    let (whole, parts) = (run.output("whole"), run.output("parts"));
    let mut arguments = vec!["--set", "training.save_steps=5"];
    set.iter().for_each(|assignment| arguments.extend(["--set", assignment]));
    run.train(&whole, &arguments);
    // Interrupted after step 10: what came after its checkpoint is gone.
    std::fs::create_dir(&parts).unwrap();
    copy(&whole.join("checkpoint-10"), &parts.join("checkpoint-10"));
    std::fs::copy(whole.join("metrics.jsonl"), parts.join("metrics.jsonl")).unwrap();
    arguments.push("--resume");
    run.train(&parts, &arguments);

    let losses = losses(&whole);
    assert_eq!(losses.len(), 12);
    assert_eq!(losses, self::losses(&parts));
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(read(&whole), read(&parts), "{file}");
    }
    losses
}

#[test]
fn a_resumed_run_repeats_the_numbers_of_an_uninterrupted_one() {
    resumes(&[]);
}

/// Matrices that are trained as a whole lie in memory as they do after a step, also where they were
/// loaded.
#[test]
fn so_does_one_that_trains_whole_modules() {
    let whole = "adapter.modules_to_save=[\"lm_head\", \"embed_tokens\", \"input_layernorm\"]";
    resumes(&[whole]);
    resumes(&[whole, "adapter.preset=lora", "adapter.lora_alpha=4", "adapter.bias=all"]);
}

#[test]
fn so_does_one_with_packing_an_average_and_groups_of_parameters() {
    let groups = "training.param_groups=[{params='router',learning_rate=1e-3,weight_decay=0.1}]";
    let losses = resumes(&[
        "training.packing=true",
        "training.per_device_train_batch_size=1",
        "training.ema_decay=0.9",
        "training.optim=lion",
        "training.learning_rate=1e-3",
        groups,
        "training.lr_scheduler_type=warmup_stable_decay",
        "training.lr_scheduler_kwargs={num_decay_steps=4}",
    ]);
    assert!(losses[11].1 < losses[0].1, "{losses:?}");
    for optim in ["adafactor", "adamw_8bit", "muon", "sgd"] {
        let optim = format!("training.optim={optim}");
        resumes(&[&optim, "training.max_tokens_per_batch=256"]);
    }
}

#[test]
fn so_does_one_with_a_router_of_the_whole_model() {
    let classifier = "adapter.router={type='x_lora',xlora_depth=2,xlora_size=8}";
    resumes(&["adapter.preset=x-lora", classifier, "adapter.num_experts=3"]);
}

#[test]
fn so_does_one_whose_rate_goes_by_the_validation_loss() {
    resumes(&[
        "training.lr_scheduler_type=reduce_lr_on_plateau",
        "training.lr_scheduler_kwargs={patience=0,factor=0.5,threshold=0.5}",
        "training.eval_steps=2",
    ]);
}

#[test]
fn so_does_one_whose_samples_are_kept_on_disk() {
    let cache = tempfile::tempdir().unwrap();
    let key = format!("data.cache_dir={}", arg(cache.path()));
    let kept = resumes(&[&key]);
    assert!(std::fs::read_dir(cache.path()).unwrap().count() > 0);
    assert_eq!(kept, resumes(&[]));
}

#[test]
fn event_files_are_written_beside_the_metrics() {
    let run = Run::new();
    let output = run.output("events");
    run.train(&output, &["--set", "training.report_to=[\"tensorboard\"]"]);
    let events = std::fs::read_dir(output.join("runs")).unwrap().next().unwrap().unwrap();
    assert!(events.file_name().to_str().unwrap().starts_with("events.out.tfevents."));
    let bytes = std::fs::read(events.path()).unwrap();
    let counted = |tag: &[u8]| bytes.windows(tag.len()).filter(|window| *window == tag).count();
    assert_eq!((counted(b"train/loss"), counted(b"eval/loss")), (12, 1));
}

#[test]
fn resuming_does_not_ask_for_the_default_device_and_keeps_the_moments_of_whole_modules() {
    let run = Run::new();
    let set = ["--set", "training.save_steps=5", "--set", "adapter.modules_to_save=[\"norm\"]"];
    let (whole, parts) = (run.output("whole"), run.output("parts"));
    run.train(&whole, &set);
    std::fs::create_dir(&parts).unwrap();
    copy(&whole.join("checkpoint-10"), &parts.join("checkpoint-10"));
    let output_dir = format!("training.output_dir={}", arg(&parts));
    // Burn takes no such device, so whatever asks it for its default one fails.
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_lora-moe"))
        .args(["train", "--config", &run.config, "--set", &output_dir, "--resume"])
        .args(set)
        .env("BURN_DEVICE", "none")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |folder: &Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
    assert!(read(&whole) == read(&parts));
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let run = Run::new();
    let adapter = |threads: &str| {
        let output = run.output(threads);
        let set = format!("training.output_dir={}", arg(&output));
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_lora-moe"))
            .args(["train", "--config", &run.config, "--set", &set])
            .args(["--set", "adapter.preset=goat-paper", "--set", "adapter.r=8"])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
        std::fs::read(output.join("adapter_model.safetensors")).unwrap()
    };
    let one = adapter("1");
    assert!(adapter("2") == one && adapter("3") == one);
}

#[test]
fn a_run_that_ended_before_it_saved_anything_starts_again() {
    let run = Run::new();
    let whole = run.output("whole");
    run.train(&whole, &["--set", "training.eval_on_start=true"]);
    for (name, more) in [("again", None), ("resumed", Some("--resume"))] {
        let output = run.output(name);
        std::fs::create_dir(&output).unwrap();
        std::fs::copy(whole.join("metrics.jsonl"), output.join("metrics.jsonl")).unwrap();
        let mut arguments = vec!["--set", "training.eval_on_start=true"];
        arguments.extend(more);
        run.train(&output, &arguments);
        assert_eq!(losses(&output), losses(&whole));
        let lines = |folder: &Path| {
            std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap().lines().count()
        };
        assert_eq!(lines(&output), lines(&whole));
    }
}

#[test]
fn a_folder_in_use_is_left_alone_and_what_was_torn_is_removed() {
    let run = Run::new();
    let output = run.output("shared");
    let lock = lora_moe::moe_adapter::FolderLock::acquire(&output).unwrap();
    let set = format!("training.output_dir={}", arg(&output));
    let arguments = ["train", "--config", &run.config, "--set", &set];
    let error = fails(&arguments);
    let holder = format!("in use by process {}", std::process::id());
    assert!(error.contains("shared") && error.contains(&holder), "{error}");
    drop(lock);

    std::fs::create_dir(output.join(".checkpoint-6.tmp")).unwrap();
    std::fs::write(output.join(".writing-x.tmp"), "half").unwrap();
    succeeds(&arguments);
    assert!(!output.join(".checkpoint-6.tmp").exists());
    assert!(!output.join(".writing-x.tmp").exists());
}

#[test]
fn sizes_that_no_adapter_has_are_refused_before_memory_is_taken() {
    let run = Run::new();
    let output = run.output("out");
    run.train(&output, &["--set", "training.max_steps=1"]);
    let path = output.join("adapter_config.json");
    let config: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for (key, value, expected) in [
        ("r", 999_999_999_999_u64, "`r` is 999999999999"),
        ("num_experts", u64::MAX, "`num_experts` is 18446744073709551615"),
        ("shared_experts", u64::MAX, "`shared_experts` is"),
        ("r", 60_000, "of 6 experts of rank 60000"),
        ("num_experts", 4_000, "of 4000 experts of rank 2"),
    ] {
        let mut changed = config.clone();
        changed[key] = value.into();
        std::fs::write(&path, changed.to_string()).unwrap();
        let error =
            fails(&["generate", "--model", &run.model, "--adapter", arg(&output), "--prompt", "a"]);
        assert!(error.contains(expected), "{key} {value}: {error}");
    }
}

#[test]
fn a_trained_adapter_lowers_the_loss_and_generates() {
    let run = Run::new();
    let output = run.output("out");
    run.train(&output, &["--set", "training.max_steps=40", "--set", "training.eval_steps=20"]);
    let metrics = std::fs::read_to_string(output.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("eval_loss").count(), 2, "{metrics}");

    let eval = |adapter: &[&str]| -> f64 {
        let mut arguments =
            vec!["eval", "--model", &run.model, "--data", &run.data, "--template", "plain"];
        arguments.extend(adapter);
        let result: Value = serde_json::from_str(&succeeds(&arguments)).unwrap();
        result["loss"].as_f64().unwrap()
    };
    let (base, tuned) = (eval(&[]), eval(&["--adapter", arg(&output)]));
    assert!(tuned < 0.8 * base, "{base} -> {tuned}");

    let generate = || {
        succeeds(&[
            "generate",
            "--model",
            &run.model,
            "--adapter",
            arg(&output),
            "--prompt",
            "copy :",
            "--max-new-tokens",
            "4",
        ])
    };
    let text = generate();
    assert!(text.starts_with("copy :"), "{text}");
    assert_eq!(text, generate());
    // Among others, in a file without answers.
    let prompts = run.output("prompts.jsonl");
    let lines = ["the", "copy :", "copy : the"].map(|p| serde_json::json!({ "prompt": p }));
    std::fs::write(&prompts, lines.map(|line| line.to_string()).join("\n")).unwrap();
    let mut arguments = vec!["generate", "--model", &run.model, "--adapter", arg(&output)];
    arguments.extend(["--prompts", arg(&prompts), "--max-new-tokens", "4"]);
    let printed = succeeds(&arguments);
    let found: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(found.len(), 3);
    let alone = text.trim_start_matches("copy :").trim();
    assert_eq!(found[1]["text"].as_str().unwrap().trim(), alone);
    assert!(found[1]["origin"].as_str().unwrap().contains("prompts.jsonl"), "{printed}");
    let file = run.output("answers.jsonl");
    arguments.extend(["--batch-size", "1", "--output", arg(&file)]);
    assert_eq!(succeeds(&arguments), "");
    assert_eq!(std::fs::read_to_string(file).unwrap(), printed);
    let described = succeeds(&["inspect", arg(&output)]);
    assert!(described.contains("mlp.gate_proj.router.weight"), "{described}");
}

#[test]
fn a_run_says_how_it_multiplied_wherever_it_says_anything() {
    let run = Run::new();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    for (name, more) in
        [("f32", &[][..]), ("bf16", &["--precision", "bf16", "--set", "model.dtype=bfloat16"])]
    {
        let output = run.output(name);
        let save = [&["--set", "training.save_steps=5"], more].concat();
        run.train(&output, &save);
        for folder in [output.clone(), output.join("checkpoint-10")] {
            let text = read(&folder.join("adapter_config.json"));
            let keys: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(keys["precision"], name, "{text}");
            let text = succeeds(&["inspect", arg(&folder)]);
            assert!(text.contains(&format!("\nprecision             {name}\n")), "{text}");
        }
        // Once, though the run was resumed.
        run.train(&output, &[&save[..], &["--resume", "checkpoint-10"]].concat());
        let text = read(&output.join("metrics.jsonl"));
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first, serde_json::json!({ "step": 0, "precision": name }));
        assert_eq!(text.matches("precision").count(), 1, "{text}");
    }
    // A folder that does not say is none the worse.
    let config = run.output("f32").join("adapter_config.json");
    let mut keys: Value = serde_json::from_str(&read(&config)).unwrap();
    keys.as_object_mut().unwrap().remove("precision").unwrap();
    std::fs::write(&config, keys.to_string()).unwrap();
    let text = succeeds(&["inspect", arg(&run.output("f32"))]);
    assert!(text.contains("base model") && !text.contains("precision"), "{text}");
}

#[test]
fn the_newest_checkpoints_are_kept() {
    let run = Run::new();
    let output = run.output("out");
    run.train(&output, &["--set", "training.save_steps=2", "--set", "training.save_total_limit=2"]);
    let mut steps: Vec<_> = std::fs::read_dir(&output)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix("checkpoint-")?.parse::<usize>().ok())
        .collect();
    steps.sort_unstable();
    // The validation at the end makes the last one the best as well.
    assert_eq!(steps, [10, 12]);
}

#[test]
fn runs_are_not_overwritten_and_errors_name_their_remedy() {
    let run = Run::new();
    let output = run.output("out");
    run.train(&output, &["--set", "training.max_steps=1"]);
    let set = format!("training.output_dir={}", arg(&output));
    let train = |more: &[&str]| {
        let mut arguments = vec!["train", "--config", &run.config, "--set", &set];
        arguments.extend(more);
        fails(&arguments)
    };
    assert!(train(&[]).contains("--resume"));
    let error = train(&["--resume"]);
    assert!(error.contains("training.max_steps"), "{error}");
    let error = train(&["--set", "adapter.rank=3"]);
    assert!(error.contains("rank") && error.contains("run.toml"), "{error}");
    let error = train(&["--set", "adapter.target_modules=[\"qproj\"]"]);
    assert!(error.contains("qproj") && error.contains("gate_proj"), "{error}");
    let error = train(&["--set", "model.path=nowhere"]);
    assert!(error.contains("nowhere"), "{error}");
    let error = fails(&["train", "--config", "absent.toml"]);
    assert!(error.contains("absent.toml"), "{error}");
    let error = train(&["--device", "cuda:0"]);
    assert!(error.contains("--features cuda"), "{error}");
}

#[test]
fn a_run_is_overwritten_where_that_is_asked_for_and_said() {
    let run = Run::new();
    let (output, other) = (run.output("out"), run.output("other"));
    run.train(&other, &["--set", "training.seed=2"]);
    run.train(&output, &["--set", "training.save_steps=2"]);
    std::fs::write(output.join("notes.txt"), "mine").unwrap();
    let set = format!("training.output_dir={}", arg(&output));
    let train = ["train", "--config", &run.config, "--set", &set, "--overwrite"];
    // What cannot be trained costs no run.
    let before = std::fs::read(output.join("adapter_model.safetensors")).unwrap();
    fails(&[&train[..], &["--set", "adapter.target_modules=[\"qproj\"]"]].concat());
    let kept = std::fs::read(output.join("adapter_model.safetensors")).unwrap();
    assert_eq!(kept, before);
    let result = lora_moe(&[&train[..], &["--set", "training.seed=2"]].concat());
    let said = String::from_utf8(result.stderr).unwrap();
    assert!(result.status.success(), "{said}");
    let line = said.lines().find(|line| line.contains("removing")).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors", "checkpoint-", "metrics.jsonl"]
    {
        assert!(line.contains(name), "{name}: {line}");
    }
    assert_eq!(std::fs::read_to_string(output.join("notes.txt")).unwrap(), "mine");
    assert_eq!(losses(&output), losses(&other));
    // In a folder without a run there is nothing to remove.
    let fresh = format!("training.output_dir={}", arg(&run.output("fresh")));
    succeeds(&["train", "--config", &run.config, "--set", &fresh, "--overwrite"]);
    // Nor where a model is, too.
    std::fs::write(output.join("config.json"), "{}").unwrap();
    assert!(fails(&train).contains("holds a model"));
    std::fs::remove_file(output.join("config.json")).unwrap();
    let _lock = lora_moe::moe_adapter::FolderLock::acquire(&output).unwrap();
    assert!(fails(&train).contains("in use by process"));
}

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

#[test]
fn a_dry_run_says_what_a_run_would_be_and_begins_nothing() {
    let run = Run::new();
    let output = run.output("dry");
    let set = format!("training.output_dir={}", arg(&output));
    let dry = |more: &[&str]| {
        let mut arguments = vec!["train", "--config", &run.config, "--set", &set, "--dry-run"];
        arguments.extend(more);
        succeeds(&arguments)
    };
    let text = dry(&[]);
    for part in ["trainable parameters", "experts", "routers", "samples", "steps     12"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Which configuration it is needs saying where there are several.
    assert!(!text.contains(&run.config), "{text}");
    // Of the model only the configuration is needed.
    let shapes = run.output("shapes");
    std::fs::create_dir(&shapes).unwrap();
    std::fs::copy(Path::new(&run.model).join("config.json"), shapes.join("config.json")).unwrap();
    let path = format!("model.path={}", arg(&shapes));
    let text = dry(&["--without-data", "--measure", "--set", &path]);
    for part in ["measured", "gradients", "optimiser", "most beside them", "freed", "checkpoint"] {
        assert!(text.contains(part) && !text.contains("samples"), "{part}: {text}");
    }
    assert!(!output.exists());
}
