use std::path::{Path, PathBuf};

use super::{llm_adapters, mmlu};

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
    "cifar10.yaml",
    "glue_cola.yaml",
    "glue_mnli.yaml",
    "glue_mnli_mismatched.yaml",
    "glue_mrpc.yaml",
    "glue_qnli.yaml",
    "glue_qqp.yaml",
    "glue_rte.yaml",
    "glue_sst2.yaml",
    "glue_stsb.yaml",
    "gsm8k.yaml",
    "hellaswag.yaml",
    "mnist.yaml",
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
    names.chain(mmlu::names()).chain(llm_adapters::names()).map(|name| path(&name)).collect()
}

/// The text of a shipped file.
pub(super) fn text(path: &Path) -> Option<String> {
    let name = path.strip_prefix(FOLDER).ok()?.to_str()?;
    let known = FILES.iter().find(|(known, _)| *known == name);
    let known = known.map(|(_, text)| (*text).to_owned());
    known.or_else(|| mmlu::text(name)).or_else(|| llm_adapters::text(name))
}
