//! Every example runs to its end.
#![allow(clippy::unwrap_used)]
#![allow(clippy::duplicate_mod)] // Each example has what they share as a module of its own.
#![allow(dead_code)] // of each example its `main`, where a test calls what it calls

#[path = "../burn_store.rs"]
mod burn_store;
#[path = "../compose_by_hand.rs"]
mod compose_by_hand;
#[path = "../custom_expert.rs"]
mod custom_expert;
#[path = "../custom_router.rs"]
mod custom_router;
#[path = "../evaluate_and_plot.rs"]
mod evaluate_and_plot;
#[path = "../goat_start.rs"]
mod goat_start;
#[path = "../slim_routing.rs"]
mod slim_routing;
#[path = "../swap_backend.rs"]
mod swap_backend;
#[path = "../train_with_library.rs"]
mod train_with_library;

use std::path::Path;

/// Runs an example into a folder of its own, and looks for what it writes.
fn writes(files: &[&str], run: impl FnOnce(&Path) -> anyhow::Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    run(folder.path()).unwrap();
    for file in files {
        let path = folder.path().join(file);
        let size = std::fs::metadata(&path).map(|data| data.len());
        assert!(size.is_ok_and(|size| size > 0), "{} is missing or empty", path.display());
    }
}

#[test]
fn burn_store() {
    let pytorch = "../crates/model-zoo/tests/golden/llama2_pytorch";
    let pytorch = Path::new(env!("CARGO_MANIFEST_DIR")).join(pytorch);
    writes(&["model.safetensors"], |folder| burn_store::run(folder, Some(&pytorch)));
}

#[test]
fn compose_by_hand() {
    compose_by_hand::main().unwrap();
}

#[test]
fn custom_expert() {
    custom_expert::main().unwrap();
}

#[test]
fn custom_router() {
    custom_router::main().unwrap();
}

#[test]
fn evaluate_and_plot() {
    let files = ["loss.svg", "routing/routing.html", "routing/routing.csv", "routing/routing.json"];
    writes(&files, evaluate_and_plot::run);
}

#[test]
fn goat_start() {
    writes(&["goat_start.svg"], |folder| goat_start::run(folder, None));
}

#[test]
fn slim_routing() {
    writes(&["slim_routing.svg"], slim_routing::run);
}

#[test]
fn swap_backend() {
    swap_backend::run(Some("flex")).unwrap();
}

#[test]
fn train_with_library() {
    let files = ["run/adapter_config.json", "run/adapter_model.safetensors", "run/metrics.jsonl"];
    writes(&files, train_with_library::run);
}
