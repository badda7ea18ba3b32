//! Compares what the crates compute with reference values.
//!
//! A case is a safetensors file with tensors `in.*` (inputs), `w.*` (parameters), `out.*`
//! (results) and `grad.*` (gradients of `out.loss`), described by the JSON under the metadata key
//! `case`, whose `method` names the function that computes it. Cases are read from the directory
//! in the environment variable `LORA_MOE_GOLDEN_DIR`, by default the project's own, and computed on
//! the device in `LORA_MOE_DEVICE`, by default `flex`. Arguments without a dash keep only the cases
//! whose name contains one of them.
#![allow(clippy::print_stdout)]

mod golden_cases;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use golden_cases::{Case, METHODS};
use lora_moe::burn::tensor::Device;
use lora_moe::device::{device_from_environment, parse_device};

/// The largest error allowed on the CPU, relative to the largest reference value of a tensor.
const TOLERANCE: f32 = 1e-5;

/// As [`TOLERANCE`], on GPUs: they multiply and sum in another order, and their exponentials are
/// less exact.
const GPU_TOLERANCE: f32 = 1e-4;

/// As [`TOLERANCE`], for decompositions. Their reference values were computed in f32, which alone
/// puts them up to 2.8e-5 from the exact product of the triplets: close singular values leave
/// each triplet that ill determined.
const SVD_TOLERANCE: f32 = 5e-5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let device = device_from_environment().map_err(|error| error.to_string());
    let (files, device) = match case_files().and_then(|files| Ok((files, device?))) {
        Ok(found) => found,
        Err(error) => {
            println!("test result: FAILED. {error}");
            return ExitCode::FAILURE;
        }
    };
    let filters: Vec<_> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let wanted = |path: &&PathBuf| {
        let name = name_of(path);
        filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let selected: Vec<_> = files.iter().filter(wanted).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        selected.iter().for_each(|path| println!("{}: test", name_of(path)));
        return ExitCode::SUCCESS;
    }

    println!("\nrunning {} golden cases on {device:?}", selected.len());
    let mut failed = 0;
    for path in &selected {
        match run(path, &device) {
            Ok(worst) => println!("test {} ... ok, {worst}", name_of(path)),
            Err(error) => {
                failed += 1;
                println!("test {} ... FAILED: {error}", name_of(path));
            }
        }
    }
    let passed = selected.len() - failed;
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    let filtered = files.len() - selected.len();
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {filtered} filtered out\n"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The files of all cases, by name; an error where there are none, so that an empty directory
/// does not pass.
fn case_files() -> Result<Vec<PathBuf>, String> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = match std::env::var_os("LORA_MOE_GOLDEN_DIR").map(PathBuf::from) {
        // Cargo runs tests in their package, but is itself run at the root of the workspace.
        Some(directory) if !directory.exists() => package.join("../..").join(directory),
        Some(directory) => directory,
        None => package.join("tests/golden"),
    };
    let unreadable = |error| format!("{}: {error}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            files.push(path);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: no *.safetensors", directory.display()));
    }
    Ok(files)
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Computes a case and compares it; the largest error, in words.
fn run(path: &Path, device: &Device) -> Result<String, String> {
    let case = Case::read(path, device)?;
    let method = case.text("method")?;
    let Some((_, compute)) = METHODS.iter().find(|(name, _)| *name == method) else {
        let known: Vec<_> = METHODS.iter().map(|(name, _)| *name).collect();
        return Err(format!("unknown method `{method}`; known: {}", known.join(", ")));
    };
    let results = compute(&case)?;
    let unread = case.unread();
    if !unread.is_empty() {
        return Err(format!("`{method}` does not read {}", unread.join(", ")));
    }

    let references = case.references();
    if references.is_empty() {
        return Err("the case has no reference values".into());
    }
    let tolerance = match method {
        _ if parse_device("flex").as_ref() != Ok(device) => GPU_TOLERANCE,
        "svd_init" => SVD_TOLERANCE,
        _ => TOLERANCE,
    };
    let mut failures = Vec::new();
    let mut worst = (0.0, "");
    for (name, reference) in &references {
        let computed = results.iter().filter(|(result, _)| result == name);
        let errors: Result<Vec<_>, _> =
            computed.map(|(_, values)| relative_error(values, reference)).collect();
        match errors.map(|errors| errors.into_iter().reduce(f32::max)) {
            Ok(Some(error)) if error <= tolerance => {
                if error >= worst.0 {
                    worst = (error, name);
                }
            }
            Ok(Some(error)) => failures.push(format!("`{name}` is off by {error:.1e}")),
            Ok(None) => failures.push(format!("`{name}` is not computed")),
            Err(error) => failures.push(format!("`{name}` {error}")),
        }
    }
    if !failures.is_empty() {
        return Err(failures.join("; "));
    }
    let (error, name) = worst;
    Ok(format!("largest error {error:.1e} ({name}, of {} tensors)", references.len()))
}

/// The largest absolute error over the largest absolute reference value.
fn relative_error(values: &[f32], reference: &[f32]) -> Result<f32, String> {
    if values.len() != reference.len() {
        return Err(format!("has {} values instead of {}", values.len(), reference.len()));
    }
    if values.iter().any(|value| !value.is_finite()) {
        return Err("is not finite".into());
    }
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    let error = largest(&mut values.iter().zip(reference).map(|(a, b)| (a - b).abs()));
    let scale = largest(&mut reference.iter().map(|value| value.abs()));
    Ok(if scale > 0.0 { error / scale } else { error })
}
