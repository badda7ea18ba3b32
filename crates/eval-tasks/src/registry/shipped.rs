use std::path::{Path, PathBuf};

use super::mmlu;

/// The folder that shipped files seem to be in.
const FOLDER: &str = "(shipped)";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../tasks/", $name)))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "arc_challenge.yaml",
    "arc_easy.yaml",
    "boolq.yaml",
    "gsm8k.yaml",
    "hellaswag.yaml",
    "nq_open.yaml",
    "openbookqa.yaml",
    "piqa.yaml",
    "social_iqa.yaml",
    "triviaqa.yaml",
    "wikitext.yaml",
    "winogrande.yaml",
];

/// The path of a shipped file, for errors and includes.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name)
}

/// The paths of all.
pub(super) fn paths() -> Vec<PathBuf> {
    let names = FILES.iter().map(|(name, _)| (*name).to_owned());
    names.chain(mmlu::names()).map(|name| path(&name)).collect()
}

/// The text of a shipped file.
pub(super) fn text(path: &Path) -> Option<String> {
    let name = path.strip_prefix(FOLDER).ok()?.to_str()?;
    let known = FILES.iter().find(|(known, _)| *known == name);
    known.map(|(_, text)| (*text).to_owned()).or_else(|| mmlu::text(name))
}
