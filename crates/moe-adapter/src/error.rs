use std::path::PathBuf;

use thiserror::Error;

/// An adapter that cannot be made, attached, saved or loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// A size that must be at least 1.
    #[error("adapter: `{key}` is 0, but must be at least 1")]
    Zero {
        /// The key at fault.
        key: &'static str,
    },
    /// A size beyond what any adapter has.
    #[error("adapter: `{key}` is {value}, but must be at most {most}")]
    TooLarge {
        /// The key at fault.
        key: &'static str,
        /// The value given.
        value: usize,
        /// The largest that is allowed.
        most: usize,
    },
    /// A scaling that would switch the adapter off or is not a number.
    #[error("adapter: `lora_alpha` is {value}, but must be a finite number above 0")]
    LoraAlpha {
        /// The value given.
        value: f64,
    },
    /// A scaling that would switch the adapter off or is not a number.
    #[error("adapter: `{key}` is {value}, but must be a finite number above 0")]
    Scaling {
        /// The key at fault.
        key: &'static str,
        /// The value given.
        value: f64,
    },
    /// A ratio of learning rates that is no ratio.
    #[error("adapter: `loraplus_lr_ratio` is {value}, but must be a finite number above 0")]
    LoraPlus {
        /// The value given.
        value: f64,
    },
    /// A rank that cannot be split over the experts.
    #[error(
        "adapter: with `split_rank` each expert has `r / num_experts`, but {r} is no multiple of \
         {num_experts}"
    )]
    SplitRank {
        /// The total rank.
        r: usize,
        /// The experts.
        num_experts: usize,
    },
    /// A `k` for a router that has none.
    #[error(
        "adapter: `top_k_by_layer` is set, but the `router` has no `k`; use for instance \"top_k\""
    )]
    NoTopK,
    /// A router of whole blocks with something that it cannot mix.
    #[error(
        "adapter: with `router_scope` \"feed_forward\" experts are whole blocks, for which `{key}` \
         must be {allowed}"
    )]
    FeedForward {
        /// The key at fault.
        key: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A router of whole blocks on a model without such blocks.
    #[error(
        "adapter: `router_scope` is \"feed_forward\", but no gated feed-forward block of the model \
         has a linear among `target_modules`"
    )]
    NoFeedForward,
    /// A router of the whole model with something that it cannot decide for.
    #[error(
        "adapter: with `router_scope` \"model\" one router decides for all linears from a first pass, \
         for which `{key}` must be {allowed}"
    )]
    ModelScope {
        /// The key at fault.
        key: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// A router of the whole model on a model that makes no first pass.
    #[error(
        "adapter: `router_scope` is \"model\", whose router reads the hidden states of a first pass; \
         decoders make one, and this model does not"
    )]
    NoFirstPass,
    /// A start that takes a product out of the frozen weight, for experts that share a factor.
    #[error(
        "adapter: `init` takes the experts' product out of the frozen weight, which experts that share \
         a factor cannot restore; use `init = {{ type = \"lora\" }}`"
    )]
    SharedFactors,
    /// A part of the configuration that does not fit a linear.
    #[error("{problem} (for `{path}`)")]
    Linear {
        /// The linear.
        path: String,
        /// Why it does not fit.
        problem: Box<AdapterError>,
    },
    /// A mixture on what sees only some of the tokens.
    #[error(
        "adapter: `{path}` is in an expert of the base model, whose linears take single adapters \
         and no mixture; set `num_experts = 1`, or leave them out of `target_modules` \
         (`exclude_modules = \".*\\\\.experts\\\\..*\"`)"
    )]
    RoutedExpert {
        /// The linear.
        path: String,
    },
    /// Parameters that the model does not have.
    #[error(
        "adapter: `target_parameters` {targets} matches no parameter that holds all experts of a \
         layer; the model has {available} (linears are `target_modules`)"
    )]
    TargetParameters {
        /// What matched nothing.
        targets: String,
        /// The parameters that the model has, with a star for numbers.
        available: String,
    },
    /// Adapters of parameters with something that they cannot have.
    #[error(
        "adapter: with `target_parameters` `{key}` must be {allowed}, as in PEFT: each expert of the \
         base model has one plain adapter"
    )]
    OfParameters {
        /// The key at fault.
        key: &'static str,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Modules that the model does not have.
    #[error(
        "adapter: `modules_to_save` {targets} matches no module of the model; it has {available}"
    )]
    ModulesToSave {
        /// What matched nothing.
        targets: String,
        /// The names that the model has, with a star for numbers.
        available: String,
    },
    /// A module without weights of its own.
    #[error(
        "adapter: `modules_to_save` names `{module}`, which is tied: it has the weights of `{owner}`; \
         name that one to train both, or give `{module}` weights of its own with \
         `untie_head = true` under `[model]`"
    )]
    TiedModule {
        /// What was named.
        module: String,
        /// The module that has the weights.
        owner: String,
    },
    /// Rows of tokens of a module that has none.
    #[error(
        "adapter: `trainable_token_indices` names `{module}`, which is no module with rows of tokens; \
         the model has {}",
        if available.is_empty() { "none" } else { available.as_str() }
    )]
    TokenModule {
        /// What was named.
        module: String,
        /// The modules that have rows of tokens.
        available: String,
    },
    /// Rows of tokens of a module without weights of its own.
    #[error(
        "adapter: `trainable_token_indices` names `{module}`, which is tied: it has the rows of \
         `{owner}`; name that one to train both, or give `{module}` weights of its own with \
         `untie_head = true` under `[model]`"
    )]
    TiedTokens {
        /// What was named.
        module: String,
        /// The module that has the weights.
        owner: String,
    },
    /// A token that the model does not have.
    #[error(
        "adapter: `trainable_token_indices` has {index}, but the model has {count} tokens, counted \
         from 0; `new_tokens` under `[model]` adds some"
    )]
    TokenIndex {
        /// The token.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A list of tokens without any.
    #[error(
        "adapter: `trainable_token_indices` of `{module}` is empty; name tokens, or leave it out"
    )]
    NoTokens {
        /// The module.
        module: String,
    },
    /// A token with two rows.
    #[error("adapter: `trainable_token_indices` of `{module}` has {index} twice")]
    TokenTwice {
        /// The module.
        module: String,
        /// The token.
        index: usize,
    },
    /// Rows of tokens of a module that is trained as a whole.
    #[error(
        "adapter: `{module}` is trained as a whole by `modules_to_save`, and rows of it by \
         `trainable_token_indices`; leave out one of them"
    )]
    TokensOfWhole {
        /// The module.
        module: String,
    },
    /// A weight that is to be trained, or whose gradient is asked for, is held in a few bits.
    #[error(
        "adapter: the weight of `{path}` is quantised, so it has no gradient; take the model \
         without `quantization`"
    )]
    Quantized {
        /// The path of the linear.
        path: String,
    },
    /// The adapter was started from the weights of another model.
    #[error(
        "{origin}: the adapter's start was taken out of another weight of `{path}` than this \
         model's; load it on the base model that it was trained on"
    )]
    OtherBase {
        /// The file.
        origin: String,
        /// The linear.
        path: String,
    },
    /// The model's weights were already changed by another start.
    #[error(
        "{origin}: the model already carries an adapter whose start differs at `{path}`; load the \
         base model again and put the adapter on it with `attach_saved`"
    )]
    OtherStart {
        /// The file.
        origin: String,
        /// The linear.
        path: String,
    },
    /// A balance loss needs a router to balance.
    #[error(
        "adapter: `balance_loss` is set, but `num_experts` is 1: a single adapter has no router; \
         remove `balance_loss` or raise `num_experts`"
    )]
    BalanceWithoutMixture,
    /// Nothing would be adapted.
    #[error(
        "adapter: `target_modules` is empty; name modules, as in [\"gate_proj\"], give a regular \
         expression, or \"all-linear\""
    )]
    NoTargets,
    /// A regular expression that does not parse.
    #[error("adapter: `target_modules` is no regular expression: {pattern:?}")]
    TargetPattern {
        /// The expression given.
        pattern: String,
        /// Why it does not parse.
        source: regex::Error,
    },
    /// Targets that the model does not have.
    #[error(
        "adapter: `target_modules` {targets} matches no module of the model (with the given \
         `layers_to_transform`); it has {available}"
    )]
    TargetNotFound {
        /// What matched nothing.
        targets: String,
        /// The names that the model has.
        available: String,
    },
    /// A layer that the model does not have.
    #[error("adapter: `layers_to_transform` names layer {layer}, but the model has {layers}")]
    LayerNotFound {
        /// The index given.
        layer: usize,
        /// The number of layers.
        layers: usize,
    },
    /// A preset that does not exist.
    #[error("adapter: there is no preset {name:?}; there are: {allowed}")]
    UnknownPreset {
        /// The name given.
        name: String,
        /// The names there are.
        allowed: String,
    },
    /// A router that cannot work.
    #[error(transparent)]
    Router(#[from] router::RouterError),
    /// Experts that cannot work.
    #[error(transparent)]
    Expert(#[from] lora_expert::ExpertError),
    /// A start that cannot be made.
    #[error(transparent)]
    Init(#[from] svd_init::InitError),
    /// Ranks that cannot go on together.
    #[error(transparent)]
    Ranks(#[from] ranks::RanksError),
    /// A balance loss that cannot work.
    #[error(transparent)]
    Balance(#[from] balance_loss::BalanceLossError),
    /// A file that cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration that does not parse.
    #[error("{}: not the configuration of an adapter: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A file of tensors that cannot be read or written.
    #[error(transparent)]
    Tensors(#[from] tensor_files::TensorFileError),
    /// A folder that holds no adapter.
    #[error("{}: {what}", folder.display())]
    NoAdapterFolder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A folder in the layout of another project.
    #[error(
        "{}: not in this project's layout; `adapter_formats::read_adapter` and lora-moe convert read \
         those of other projects",
        path.display()
    )]
    OtherLayout {
        /// The file.
        path: PathBuf,
    },
    /// A folder without tensors.
    #[error(
        "{}: has no weights; looked for adapter_model.safetensors and adapter_model.bin",
        folder.display()
    )]
    NoWeights {
        /// The folder.
        folder: PathBuf,
    },
    /// A regular expression of sizes that does not parse.
    #[error("adapter: `{key}` has no regular expression: {pattern:?}")]
    SizePattern {
        /// The key at fault.
        key: &'static str,
        /// The expression.
        pattern: String,
        /// Why.
        source: regex::Error,
    },
    /// Several patterns give one linear several sizes.
    #[error(
        "adapter: in `{key}` both {first:?} and {second:?} match {path}, with different values; \
         write patterns that do not overlap"
    )]
    PatternsOverlap {
        /// The key at fault.
        key: &'static str,
        /// The linear.
        path: String,
        /// One pattern.
        first: String,
        /// Another.
        second: String,
    },
    /// A start that is not stored and cannot be repeated.
    #[error(
        "{origin}: the start `{init}` changed the frozen weights by what it measured on data, and \
         the folder does not say how; have its authors' code fold the start into the adapter"
    )]
    StartNotStored {
        /// The file.
        origin: String,
        /// The start.
        init: &'static str,
    },
    /// A tensor that the adapter needs and the file lacks.
    #[error("{origin}: tensor `{name}` is missing{}", hint(nearest))]
    MissingTensor {
        /// The file.
        origin: String,
        /// The tensor.
        name: String,
        /// Names in the file that look alike.
        nearest: Vec<String>,
    },
    /// Tensors that the adapter has no place for.
    #[error("{origin}: {count} tensors have no place in the adapter: {names}")]
    UnexpectedTensors {
        /// The file.
        origin: String,
        /// How many.
        count: usize,
        /// The first of them.
        names: String,
    },
    /// A tensor with something that is no number.
    #[error("{origin}: tensor `{name}` holds values that are not finite")]
    NotFinite {
        /// The file.
        origin: String,
        /// The tensor.
        name: String,
    },
    /// A tensor of another shape or type.
    #[error("{origin}: tensor `{name}` is {found}, but must be {expected}")]
    TensorMismatch {
        /// The file.
        origin: String,
        /// The tensor.
        name: String,
        /// Its shape or type.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// There is nothing to save.
    #[error("adapter: the model carries no adapter, so there is nothing to save or to merge")]
    NoAdapter,
}

fn hint(nearest: &[String]) -> String {
    if nearest.is_empty() {
        String::new()
    } else {
        format!("; the nearest names are `{}`", nearest.join("`, `"))
    }
}
