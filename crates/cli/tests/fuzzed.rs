//! The files that fuzzers have found are given to the parsers again: none makes one panic, or takes
//! long. `scripts/fuzz.sh` finds more.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::expect_used)]

#[path = "../../../fuzz/src/parsers.rs"]
mod parsers;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use parsers::PARSERS;

/// The corpora, by the names of their parsers.
fn corpora() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

#[test]
fn no_file_of_the_corpora_makes_a_parser_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut failed = Vec::new();
    for (name, parse) in PARSERS {
        let own = folder.path().join(name);
        std::fs::create_dir(&own).unwrap();
        let mut files: Vec<_> = std::fs::read_dir(corpora().join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let (mut taken, mut slowest) = (0, Duration::ZERO);
        for file in &files {
            let data = std::fs::read(file).unwrap();
            let started = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| parse(&own, &data))) {
                Ok(accepted) => taken += usize::from(accepted),
                Err(_) => failed.push(file.clone()),
            }
            let took = started.elapsed();
            if took > Duration::from_secs(10) {
                failed.push(file.clone());
            }
            slowest = slowest.max(took);
        }
        println!("{name}: {taken} of {} accepted, the slowest took {slowest:?}", files.len());
        assert!(files.len() >= 3, "{name}: {} files", files.len());
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_parser_has_a_target_and_a_corpus() {
    let names: BTreeSet<_> = PARSERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let listed = |folder: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&corpora()), names);
    assert_eq!(listed(&corpora().join("../fuzz_targets")), names);
    let manifest = std::fs::read_to_string(corpora().join("../Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
