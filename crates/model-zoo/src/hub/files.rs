// Without the feature nothing is fetched.
#![cfg_attr(not(feature = "hub"), allow(dead_code))]

/// What a model is made of besides its weights, where the repository has it.
const OTHERS: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
];

/// The files of a repository to download: weights in one format only, safetensors first. `None`
/// where there is no configuration or there are no weights.
pub(super) fn needed(listed: &[String]) -> Option<Vec<String>> {
    let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
    let weights = [("model", ".safetensors"), ("pytorch_model", ".bin")]
        .into_iter()
        .map(|(stem, extension)| weights(&listed, stem, extension))
        .find(|weights| !weights.is_empty())?;
    let others = listed.iter().copied().filter(|file| OTHERS.contains(file));
    let files: Vec<_> = others.chain(weights).map(str::to_owned).collect();
    files.iter().any(|file| file == "config.json").then_some(files)
}

fn weights<'a>(listed: &[&'a str], stem: &str, extension: &str) -> Vec<&'a str> {
    let single = format!("{stem}{extension}");
    if let Some(single) = listed.iter().find(|file| **file == single) {
        return vec![single];
    }
    let index = format!("{single}.index.json");
    let shard = format!("{stem}-");
    let is_part = |file: &str| {
        file == index
            || !file.contains('/') && file.starts_with(&shard) && file.ends_with(extension)
    };
    listed.iter().copied().filter(|file| is_part(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_format_of_weights_is_chosen() {
        let all = [
            "README.md",
            "config.json",
            "consolidated.safetensors",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
            "onnx/model.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
        ];
        let needed = |listed: &[&str]| {
            needed(&listed.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(needed(&all).unwrap(), [all[1], all[8], all[3], all[4], all[5]]);
        assert_eq!(needed(&[all[1], all[7]]).unwrap(), [all[1], all[7]]);
        let single = ["config.json", "model.safetensors", all[3]];
        assert_eq!(needed(&single).unwrap(), single[..2]);
        assert_eq!(needed(&["config.json", "tokenizer.json"]), None);
        assert_eq!(needed(&["model.safetensors"]), None);
    }
}
