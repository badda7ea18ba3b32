use moe_adapter::{AdapterConfig, Preset, TargetModules};
use serde_json::Value;

use crate::train::TrainingConfig;

/// A commented file to start from: a run with the values of a preset.
///
/// ```
/// use finetune::run::{RunConfig, run_template};
/// use moe_adapter::Preset;
///
/// let text = run_template(Preset::LoramoePaper);
/// let run = RunConfig::from_toml(&text, "run.toml", &[])?;
/// assert_eq!(run.adapter, Preset::LoramoePaper.config());
/// # Ok::<(), finetune::train::TrainError>(())
/// ```
pub fn run_template(preset: Preset) -> String {
    let adapter = preset.config();
    let training = TrainingConfig::default();
    let task_type = if adapter.balance_loss.as_ref().is_some_and(|l| l.needs_task_types()) {
        "\n# Records without a `task_type` of their own get this one: 1 is world knowledge, 0 any \
         other task.\ntrain = [{ path = \"train.json\", task_type = 0 }]"
    } else {
        "\ntrain = [{ path = \"train.json\" }]"
    };
    format!(
        r#"# {summary}
# Train with: lora-moe train --config run.toml
# Any key can be overridden: --set adapter.num_experts=8

[model]
# A Hugging Face folder: config.json, weights, tokenizer.json; or organisation/name on the hub.
path = "path/to/model"
# revision = "main"
# The frozen matrices in memory: float32, float16, bfloat16 or auto: as the files have them on a CPU,
# which computes with them in f32, and float32 elsewhere. Half types take half the memory.
dtype = "auto"
# Holds the linears of the layers in fewer bits, as bitsandbytes does: int8, fp4, nf4, or nf4_double
# (nf4 whose scales have 8 bits; QLoRA's).
# quantization = "nf4_double"
# Whether qkv_proj and gate_up_proj (Phi 3) are adapted as q_proj, k_proj and so on.
split_fused = false
# Special tokens to add; train their rows: trainable_token_indices under [adapter], or
# modules_to_save = ["embed_tokens"] (and "lm_head" where it is not tied to them).
# new_tokens = ["<tool>", "</tool>"]
# Gives a head that is tied to the embeddings weights of its own.
# untie_head = true

[adapter]
# Starts from the values of a preset; the keys below restate them, and can be changed or removed.
preset = "{preset}"
# Starts from a saved adapter of any layout instead of a fresh one; the keys below must be its own.
# from = "runs/mix"
# "all", or "router": the experts of the saved adapter stay as they are.
# train = "all"
{adapter}
[data]
# Files of rows with instruction/input/output, messages, prompt/completion or text; `lora-moe data`
# shows what the model will see of them.{task_type}
# Files to validate on; or a share (0.05) or a count (200) of the training data is held out.
# validation = [{{ path = "validation.json" }}]
validation_split = 0.05
# How an instruction becomes a prompt: "alpaca", "plain" (LoRAMoE's), "chat" (the tokenizer's
# chat template), or {{ custom = "Q: {{instruction}}\nA: " }}.
template = "{template}"
# The longest sample in tokens; longer ones are cut and counted.
max_length = 1024
# Whether the prompt is learned too.
train_on_prompt = false
# Which turns of a conversation are learned: "all_turns" in one sample, the "last_turn", or
# "each_turn" in a sample of its own.
chat = {{ train_on = "all_turns" }}

[training]
# Receives metrics.jsonl, checkpoints and the adapter.
output_dir = "runs/{preset}"
learning_rate = {learning_rate}
# After the warm-up: "constant_with_warmup", "linear", "cosine", or with `lr_scheduler_kwargs`
# "cosine_with_restarts", "cosine_with_min_lr", "cosine_warmup_with_min_lr", "polynomial",
# "inverse_sqrt", "warmup_stable_decay"; "constant" and "reduce_lr_on_plateau" have no warm-up.
lr_scheduler_type = "cosine"
# The warm-up in steps (0: as a share of all steps).
warmup_steps = 0
warmup_ratio = {warmup_ratio}
num_train_epochs = {epochs:?}
# Optimiser steps; above 0 it takes precedence over the epochs.
max_steps = 0
per_device_train_batch_size = {batch}
per_device_eval_batch_size = {batch}
# Samples one behind the other in rows of max_length, which saves padding; none sees another.
packing = false
# Forward passes of one optimiser step.
gradient_accumulation_steps = 1
# What the backward pass computes again to save memory: "none", "block" (a layer at a time),
# "every N" (N layers at a time), "nested N" (those, and each layer of them again).
recompute = "none"
# The largest norm of the gradient; 0 does not clip.
max_grad_norm = {max_grad_norm:?}
# "adamw", "adamw_8bit", "adafactor", "lion", "muon" or "sgd", on what is trained only.
optim = "adamw"
weight_decay = {weight_decay:?}
adam_beta1 = {beta1}
adam_beta2 = {beta2}
adam_epsilon = {epsilon:e}
seed = {seed}
# Batches of samples of similar length, which saves padding.
group_by_length = true
# A line of metrics every so many steps.
logging_steps = {logging}
# ["tensorboard"] writes event files into `runs` in output_dir too.
report_to = []
# An evaluation and a checkpoint every so many steps; 0 only at the end.
eval_steps = 0
save_steps = 0
# The newest checkpoints that are kept, besides the best and the last healthy one.
save_total_limit = {limit}
# A step whose loss or gradient is not finite: "error", "skip", or "rollback" to the last healthy
# checkpoint; at most so many in a row.
non_finite = "error"
max_non_finite_steps = {max_non_finite}
# What the best is: "eval_loss", or a metric of an [[evaluation]] below, as "arc_easy/acc".
metric_for_best_model = {best:?}
# Stop after so many evaluations in a row without a better one (0: never).
early_stopping_patience = {patience}
# Leave the best checkpoint as the result of the run; needs save_steps.
load_best_model_at_end = false
# Also evaluate the untrained model.
eval_on_start = false
# A warning when an expert keeps more than this share of the routing weight of a projection (0: off)
# for so many logged steps in a row.
routing_collapse_threshold = {collapse_threshold:?}
routing_collapse_steps = {collapse_steps}

# Parameters with a learning rate or weight decay of their own.
# [[training.param_groups]]
# params = "router"
# learning_rate = 1e-3

# Scores on tasks while training (`lora-moe eval --list-tasks`).
# [[evaluation]]
# tasks = ["arc_easy", "piqa"]
# eval_steps = 200
# limit = 200
"#,
        summary = preset.summary(),
        adapter = adapter_section(&adapter),
        template = if preset == Preset::Lora { "alpaca" } else { "plain" },
        learning_rate = training.learning_rate,
        warmup_ratio = training.warmup_ratio,
        epochs = training.num_train_epochs,
        batch = training.per_device_train_batch_size,
        max_grad_norm = training.max_grad_norm,
        weight_decay = training.weight_decay,
        beta1 = training.adam_beta1,
        beta2 = training.adam_beta2,
        epsilon = training.adam_epsilon,
        seed = training.seed,
        logging = training.logging_steps,
        limit = training.save_total_limit,
        max_non_finite = training.max_non_finite_steps,
        best = training.metric_for_best_model,
        patience = training.early_stopping_patience,
        collapse_threshold = training.routing_collapse_threshold,
        collapse_steps = training.routing_collapse_steps,
    )
}

/// The keys of an adapter with a comment each.
fn adapter_section(adapter: &AdapterConfig) -> String {
    let Ok(Value::Object(fields)) = serde_json::to_value(adapter) else {
        return String::new();
    };
    let mut keys = String::new();
    let mut tables = String::new();
    let place = |key: &str| COMMENTS.iter().position(|(known, _)| *known == key);
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_by_key(|(key, _)| place(key));
    for (key, value) in &fields {
        let comment = place(key).map_or("", |at| COMMENTS[at].1);
        match value {
            Value::Object(table) => {
                tables += &format!("\n# {comment}\n[adapter.{key}]\n");
                if let Some(kind) = table.get("type") {
                    tables += &format!("type = {kind}\n");
                }
                for (key, value) in table.iter().filter(|(key, _)| *key != "type") {
                    tables += &format!("{key} = {}\n", inline(value));
                }
            }
            _ => keys += &format!("# {comment}\n{key} = {}\n", inline(value)),
        }
    }
    if matches!(adapter.target_modules, TargetModules::Names(_)) {
        keys += "# Only these layers; all where absent.\n# layers_to_transform = [0, 1]\n";
    }
    keys + &tables
}

/// A value on one line as TOML writes it, which differs from JSON for tables.
fn inline(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let entries = table.iter().map(|(key, value)| format!("{key} = {}", inline(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        Value::Array(values) => {
            format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// What each key means, in the order of the file.
const COMMENTS: [(&str, &str); 26] = [
    (
        "num_experts",
        "The experts of each adapted linear that a router chooses from; 1 is a plain LoRA.",
    ),
    ("num_experts_by_layer", "The same by layer, spread evenly over the model."),
    ("identity_experts", "Experts besides that leave the output as it is."),
    ("identity_mode", "What those add: \"zero\" or \"pass_through\"."),
    ("shared_experts", "Experts besides that every token uses."),
    ("r", "The rank of each expert."),
    ("split_rank", "Whether r is the rank of all experts of a linear together."),
    ("r_by_layer", "The rank by layer."),
    ("lora_alpha", "The scaling is lora_alpha / r."),
    ("use_rslora", "Scale by lora_alpha / sqrt(r) instead."),
    ("lora_dropout", "The probability that an input of the experts is dropped in training."),
    ("dropout_mask", "\"shared\" by the experts of a layer, or \"per_expert\"."),
    ("target_modules", "A list of names, a regular expression, or \"all-linear\"."),
    (
        "target_parameters",
        "Parameters that hold all experts of a layer, as in [\"mlp.experts.down_proj\"].",
    ),
    ("bias", "Which biases of the base model are trained: \"none\", \"all\", \"lora_only\"."),
    ("modules_to_save", "Modules of the base model that are trained as a whole."),
    (
        "trainable_token_indices",
        "Tokens whose rows of the embeddings are trained, or lists by module.",
    ),
    ("loraplus_lr_ratio", "B learns so many times faster than the rest."),
    (
        "router_scope",
        "One router for each \"projection\", each \"feed_forward\" block, or the \"model\".",
    ),
    ("top_k_by_layer", "The router's k by layer."),
    ("layers_to_transform", "Only these layers."),
    ("scaling", "Where the scaling comes from."),
    ("experts", "What an expert computes."),
    ("router", "How experts are chosen."),
    ("init", "Where the experts start."),
    ("balance_loss", "What keeps the experts in balance."),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::RunConfig;

    #[test]
    fn a_sum_of_losses_is_written_as_toml() {
        let mut adapter = Preset::LoramoePaper.config();
        let losses = serde_json::json!({ "type": "sum", "losses": [
            { "type": "entropy", "coefficient": 0.01, "entropic_index": 1.1 },
            { "type": "z_loss" },
        ]});
        adapter.balance_loss = Some(serde_json::from_value(losses).unwrap());
        let table: toml::Table = adapter_section(&adapter).parse().unwrap();
        let read = table["adapter"]["balance_loss"].clone().try_into().unwrap();
        assert_eq!(adapter.balance_loss, Some(read));
    }

    #[test]
    fn every_template_is_a_run_with_the_values_of_its_preset() {
        for preset in Preset::ALL {
            let text = run_template(preset);
            let run = RunConfig::from_toml(&text, "run.toml", &[]).unwrap();
            assert_eq!(run.adapter, preset.config(), "{preset}");
            assert_eq!(run.training, TrainingConfig::default());
            // Also without its first line, the preset.
            let text = text.replace(&format!("preset = \"{preset}\"\n"), "");
            let run = RunConfig::from_toml(&text, "run.toml", &[]).unwrap();
            assert_eq!(run.adapter, preset.config(), "{preset}");
        }
    }
}
