use super::Mistake;

/// Folders and devices that are not what a command needs.
pub const FOLDERS: &[Mistake] = &[
    (
        "a configuration that is not there",
        "train --config DIR/absent.toml",
        "DIR/absent.toml: No such file…`lora-moe config > run.toml` writes one",
    ),
    ("no configuration", "train", "required arguments were not provided"),
    (
        "a model that is not there",
        "train --config DIR/fresh.toml --set model.path=DIR/absent",
        "DIR/absent: there is no such folder, and this is no `organisation/name` on the hub",
    ),
    (
        "a model folder without its configuration",
        "generate --prompt copy --model DIR/no-config",
        "DIR/no-config: is not the folder of a model: it has no config.json",
    ),
    (
        "a model folder without weights",
        "generate --prompt copy --model DIR/no-weights",
        "DIR/no-weights: has no weights; looked for `model.safetensors`",
    ),
    (
        "a model without a tokenizer",
        "generate --prompt copy --model DIR/no-tokenizer",
        "DIR/no-tokenizer/tokenizer.json: is missing; put the one there that the model came with",
    ),
    (
        "weights that were not downloaded whole",
        "generate --prompt copy --model DIR/cut",
        "DIR/cut/model.safetensors: the file is truncated…download it again",
    ),
    (
        "weights that git-lfs has not fetched",
        "generate --prompt copy --model DIR/pointer",
        "DIR/pointer/model.safetensors: a pointer of git-lfs, not the weights; run `git lfs pull`",
    ),
    (
        "a family that is not there",
        "generate --prompt copy --model DIR/other-family",
        "DIR/other-family/config.json: `model_type` is mamba, which is not supported; supported: llama",
    ),
    (
        "an adapter that is not there",
        "generate --prompt copy --model DIR/model --adapter DIR/absent",
        "DIR/absent: there is no such folder",
    ),
    (
        "model and adapter swapped",
        "generate --prompt copy --model DIR/lora --adapter DIR/model",
        "DIR/lora: is the folder of an adapter, not of a model; give it as the adapter",
    ),
    (
        "a model for an adapter",
        "generate --prompt copy --model DIR/model --adapter DIR/model",
        "DIR/model: is the folder of a model, not of an adapter",
    ),
    (
        "the adapter of a model of another size",
        "logits --model DIR/wide --adapter DIR/lora --inputs DIR/in --output DIR/out",
        "DIR/lora: tensor `model.layers.0.self_attn.q_proj.lora_A.weight` is F32 [2, 32], but must be F32 [2, 48]",
    ),
    (
        "an adapter without weights",
        "generate --prompt copy --model DIR/model --adapter DIR/no-adapter-weights",
        "DIR/no-adapter-weights: has no weights; looked for adapter_model.safetensors",
    ),
    (
        "a typo in adapter_config.json",
        "generate --prompt copy --model DIR/model --adapter DIR/typed-adapter",
        "DIR/typed-adapter/adapter_config.json: not the configuration of an adapter: unknown field `rr`",
    ),
    (
        "a folder that is neither model nor adapter",
        "inspect DIR",
        "DIR: neither a model folder (config.json) nor an adapter folder",
    ),
    (
        "a device that is not compiled in",
        "train --config DIR/fresh.toml --device cuda",
        "cuda is not compiled in (this build has: flex); to have it, add `--features cuda`",
    ),
    (
        "a device that does not exist",
        "train --config DIR/fresh.toml --device gpu",
        "there is no backend \"gpu\"; there are: flex",
    ),
    (
        "a precision that would change nothing",
        "train --config DIR/fresh.toml --precision bf16",
        "`precision` is bf16, but must be f32 on a CPU that holds the model in float32; to multiply in",
    ),
    (
        "a dtype that does not exist",
        "generate --prompt copy --model DIR/model --dtype float64",
        "`float64` is not an element type; allowed: float32",
    ),
];
