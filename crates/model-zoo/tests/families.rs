//! Folders of every kind of rotary embedding and family that transformers wrote, beyond those of
//! the repository: its logits, saved and read again, in parts with a cache.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Reference, load, logits};

/// The largest error relative to the largest logit.
fn error_of(folder: &Path) -> f32 {
    let model = load(folder);
    let reference = Reference::read(folder);
    let found = logits(&model, &reference.input(), None);
    let copy = tempfile::tempdir().unwrap();
    model.save(copy.path()).unwrap();
    let again = load(copy.path());
    assert_eq!(again.config(), model.config(), "{}", folder.display());
    assert_eq!(logits(&again, &reference.input(), None), found, "{}", folder.display());
    reference.error(&found)
}

#[test]
fn folders_of_transformers_give_its_logits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/golden/models2");
    let Ok(folders) = std::fs::read_dir(&root) else {
        eprintln!("skipped: {} is not on this machine", root.display());
        return;
    };
    let mut failed = Vec::new();
    for folder in folders {
        let folder = folder.unwrap().path();
        let error = error_of(&folder);
        eprintln!("{}: relative error {error:e}", folder.display());
        if error.is_nan() || error > 1e-5 {
            failed.push((folder, error));
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}
