//! Commands that write one result, killed at any moment: the result is whole or not there, and the
//! same command again writes it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use support::{arg, fails, killed_after, lora_moe, succeeds, tiny_model};

/// All files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

/// Kills a command at moments spread over its time, and returns how often it was not done; each time
/// the folder must be without the file that it is known by, or whole.
fn killed(arguments: &[&str], output: &Path, known_by: &str) -> usize {
    let arguments = [arguments, &["--output", arg(output)]].concat();
    let started = Instant::now();
    succeeds(&arguments);
    let seconds = started.elapsed().as_secs_f64();
    let whole = files(output);
    assert!(whole.contains_key(known_by), "{:?}", whole.keys());
    assert!(!whole.keys().any(|name| name.ends_with(".tmp") || name == ".lock"));
    std::fs::remove_dir_all(output).unwrap();
    let mut unfinished = 0;
    for attempt in 0..24 {
        // Most of what can be torn is at the end.
        let share = 1.1 - f64::from(attempt * 7 % 24) / 24.0 * 0.8;
        killed_after(&arguments, seconds * share);
        if output.join(known_by).exists() {
            let mut found = files(output);
            // The lock's file is removed after all is written.
            found.remove(".lock");
            assert!(found == whole, "{:?}", found.keys());
            let error = fails(&arguments);
            assert!(error.contains("choose another --output"), "{error}");
        } else {
            unfinished += 1;
            // Now and then something is left to be cleared away.
            if attempt % 3 == 0 {
                std::fs::create_dir_all(output).unwrap();
                std::fs::write(output.join(".writing-half.tmp"), "half").unwrap();
            }
            succeeds(&arguments);
            assert!(files(output) == whole, "{:?}", files(output).keys());
        }
        std::fs::remove_dir_all(output).unwrap();
    }
    println!("{}: not done {unfinished} times of 24", arguments[0]);
    unfinished
}

#[test]
fn merge_unmerge_and_convert_are_done_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let path = |name: &str| folder.path().join(name);
    let train = |name: &str, adapter: &str| {
        let (config, run) = (path(&format!("{name}.toml")), path(name));
        let text = format!(
            "[model]\npath = {model:?}\n[adapter]\nr = 2\nlora_alpha = 4\ntarget_modules = \"all-linear\"\n{adapter}\n\
             [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
             [training]\noutput_dir = {run:?}\nmax_steps = 2\nlearning_rate = 0.01\n"
        );
        std::fs::write(&config, text).unwrap();
        succeeds(&["train", "--config", arg(&config)]);
        run
    };
    let dora = train("dora", "experts = { type = \"dora\" }");
    let (model, dora) = (arg(&model), arg(&dora));
    let mut unfinished = 0;
    let merge = ["merge", "--model", model, "--adapter", dora];
    unfinished += killed(&merge, &path("merged"), "config.json");
    let convert = ["convert", "--adapter", dora, "--to", "peft"];
    unfinished += killed(&convert, &path("converted"), "adapter_config.json");
    let merged = path("again");
    succeeds(&[&merge[..], &["--output", arg(&merged)]].concat());
    let unmerge = ["unmerge", "--model", arg(&merged), "--adapter", dora];
    unfinished += killed(&unmerge, &path("base"), "config.json");
    assert!(unfinished > 3, "{unfinished}");
}

#[test]
fn the_record_of_a_merge_that_was_killed_does_not_outlive_it() {
    let folder = tempfile::tempdir().unwrap();
    let (model, data) = tiny_model(folder.path());
    let (config, run) = (folder.path().join("run.toml"), folder.path().join("run"));
    let text = format!(
        "[model]\npath = {model:?}\n[adapter]\npreset = \"lora\"\nr = 2\n\
         [data]\ntrain = [{{ path = {data:?} }}]\ntemplate = \"plain\"\n\
         [training]\noutput_dir = {run:?}\nmax_steps = 2\n"
    );
    std::fs::write(&config, text).unwrap();
    succeeds(&["train", "--config", arg(&config)]);
    let output = folder.path().join("merged");
    std::fs::create_dir(&output).unwrap();
    std::fs::write(output.join("merged_adapter.safetensors"), "of another merge").unwrap();
    let merge = ["merge", "--model", arg(&model), "--adapter", arg(&run), "--output", arg(&output)];
    assert!(lora_moe(&merge).status.success());
    assert!(!output.join("merged_adapter.safetensors").exists());
    // The other weights of a conversion too.
    let output = folder.path().join("converted");
    std::fs::create_dir(&output).unwrap();
    std::fs::write(output.join("adapter_model.safetensors"), "of another conversion").unwrap();
    succeeds(&[
        "convert",
        "--adapter",
        arg(&run),
        "--to",
        "peft",
        "--bin",
        "--output",
        arg(&output),
    ]);
    assert!(succeeds(&["inspect", arg(&output)]).contains("peft"));
}
