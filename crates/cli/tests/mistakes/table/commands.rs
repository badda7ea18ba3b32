use super::Mistake;

/// Commands that change adapters, and all others.
pub const COMMANDS: &[Mistake] = &[
    (
        "a merge into a folder that holds a model",
        "merge --model DIR/model --adapter DIR/lora --output DIR/wide",
        "DIR/wide already holds a model; choose another --output",
    ),
    (
        "a merge of a mixture that decides",
        "merge --model DIR/model --adapter DIR/mixture --output DIR/merged",
        "its router decides for every token, so the mixture is not one weight…(--prompt)…(--weights)",
    ),
    (
        "too few weights for a merge",
        "merge --model DIR/model --adapter DIR/mixture --weights 0.5,0.5 --output DIR/merged",
        "the weights are [0.5, 0.5], but must be 6 finite numbers",
    ),
    (
        "a layout that does not exist",
        "convert --adapter DIR/lora --to pefft --output DIR/converted",
        "there is no layout \"pefft\"; there are: native, peft",
    ),
    (
        "a mixture in the layout of PEFT",
        "convert --adapter DIR/mixture --to peft --output DIR/converted",
        "the layout \"peft\" cannot say all of this adapter: `num_experts` is 6",
    ),
    (
        "a conversion into a folder that holds an adapter",
        "convert --adapter DIR/lora --to peft --output DIR/mixture",
        "DIR/mixture already holds an adapter; choose another --output",
    ),
    (
        "an expert that is not there",
        "extract --adapter DIR/mixture --expert 9 --output DIR/expert",
        "there is no expert 9; there are 6, counted from 0",
    ),
    (
        "an expert of a single adapter",
        "extract --adapter DIR/lora --expert 3 --output DIR/expert",
        "there is no expert 3; there are 1, counted from 0",
    ),
    (
        "a router that mix does not know",
        "mix --adapters DIR/lora DIR/lora --router best --output DIR/mixed",
        "router `best`: neither a type of router",
    ),
    (
        "a mixture among single adapters",
        "mix --adapters DIR/lora DIR/mixture --output DIR/mixed",
        "cannot mix DIR/lora, DIR/mixture",
    ),
    (
        "a negative temperature",
        "generate --prompt copy --model DIR/model --temperature -1",
        "`temperature` is -1, but must be a finite number of at least 0",
    ),
    (
        "a share of probability above 1",
        "generate --prompt copy --model DIR/model --top-p 1.5",
        "`top_p` is 1.5, but must be above 0 and at most 1",
    ),
    (
        "a typo in a study",
        "study --config DIR/study.toml --output DIR/study",
        "DIR/study.toml: unknown field `seed`",
    ),
    (
        "a method of a study that does not exist",
        "study --config DIR/study-method.toml --output DIR/study",
        "DIR/study-method.toml, method x: adapter: there is no preset \"lorra\"",
    ),
    (
        "a typo in the settings of the demo",
        "demo --config DIR/demo.json --output DIR/demo",
        "DIR/demo.json is no configuration of the demo",
    ),
    (
        "a preset that config does not know",
        "config --preset lorra",
        "there is no preset \"lorra\"; there are: lora, ",
    ),
    (
        "a command that does not exist",
        "trian --config DIR/fresh.toml",
        "unrecognized subcommand 'trian'",
    ),
];
