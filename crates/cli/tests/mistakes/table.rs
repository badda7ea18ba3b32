/// A mistake, the command that makes it, and what the error says, with `…` for what is left out. `DIR`
/// is the folder that [`Place`](crate::place::Place) makes.
pub type Mistake = (&'static str, &'static str, &'static str);

/// The table.
pub const MISTAKES: &[Mistake] = &[
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
    (
        "a file that is no TOML",
        "train --config DIR/broken.toml",
        "DIR/broken.toml: TOML parse error at line 1, column 7",
    ),
    (
        "a typo in a table",
        "train --config DIR/table.toml",
        "DIR/table.toml: unknown table `[adaptor]`; there are `[model]`, `[adapter]`",
    ),
    (
        "a typo in a key of the model",
        "train --config DIR/fresh.toml --set model.pth=x",
        "DIR/fresh.toml: in `[model]`: unknown field `pth`, expected one of `path`",
    ),
    (
        "a typo in a key of the adapter",
        "train --config DIR/fresh.toml --set adapter.rank=3",
        "in `[adapter]`: unknown field `rank`, expected one of `r`",
    ),
    (
        "a typo in a key of the data",
        "train --config DIR/fresh.toml --set data.max_len=3",
        "in `[data]`: unknown field `max_len`, expected one of…`max_length`",
    ),
    (
        "a typo in a key of the training",
        "train --config DIR/fresh.toml --set training.lr=1e-4",
        "in `[training]`: unknown field `lr`, expected one of `learning_rate`",
    ),
    (
        "an assignment without a value",
        "train --config DIR/fresh.toml --set training.learning_rate",
        "--set training.learning_rate: expected KEY=VALUE",
    ),
    (
        "a word for a number",
        "train --config DIR/fresh.toml --set training.learning_rate=high",
        "in `[training]`, `learning_rate`: invalid type: string \"high\", expected a number",
    ),
    (
        "a rank of 0",
        "train --config DIR/fresh.toml --set adapter.r=0",
        "`r` is 0, but must be at least 1",
    ),
    (
        "a negative rank",
        "train --config DIR/fresh.toml --set adapter.r=-1",
        "in `[adapter]`, `r`: invalid value: integer `-1`, expected a whole number of at least 0",
    ),
    (
        "no experts",
        "train --config DIR/fresh.toml --set adapter.num_experts=0",
        "`num_experts` is 0, but must be at least 1",
    ),
    (
        "alpha of 0",
        "train --config DIR/fresh.toml --set adapter.lora_alpha=0",
        "`lora_alpha` is 0, but must be a finite number above 0",
    ),
    (
        "dropout of 1",
        "train --config DIR/fresh.toml --set adapter.lora_dropout=1.0",
        "`lora_dropout` is 1, but must be at least 0 and below 1",
    ),
    (
        "a preset that does not exist",
        "train --config DIR/fresh.toml --set adapter.preset=loramo",
        "there is no preset \"loramo\"; there are: lora, ",
    ),
    (
        "a router that does not exist",
        "train --config DIR/fresh.toml --set adapter.router.type=topk",
        "in `[adapter]`, `router.type`: unknown variant `topk`, expected one of `uniform`",
    ),
    (
        "more experts chosen than there are",
        "train --config DIR/fresh.toml --set adapter.router={type=\"top_k\",k=9}",
        "router: `k` is 9, but must be at most the number of experts, 6",
    ),
    (
        "a balance loss that does not exist",
        "train --config DIR/fresh.toml --set adapter.balance_loss={type=\"entropie\"}",
        "`balance_loss.type`: unknown variant `entropie`, expected one of…`entropy`",
    ),
    (
        "a balance loss of a single adapter",
        "train --config DIR/fresh.toml --set adapter.num_experts=1 --set adapter.balance_loss={type=\"z_loss\"}",
        "`balance_loss` is set, but `num_experts` is 1…remove `balance_loss` or raise `num_experts`",
    ),
    (
        "a start that does not exist",
        "train --config DIR/fresh.toml --set adapter.init={type=\"svd\"}",
        "`init.type`: unknown variant `svd`, expected one of `lora`",
    ),
    (
        "targets that the model does not have",
        "train --config DIR/fresh.toml --set adapter.target_modules=[\"qproj\"]",
        "`target_modules` [\"qproj\"] matches no module of the model…it has mlp.down_proj",
    ),
    (
        "targets that are no regular expression",
        "train --config DIR/fresh.toml --set adapter.target_modules=q_(proj",
        "`target_modules` is no regular expression: \"q_(proj\"",
    ),
    (
        "no targets",
        "train --config DIR/fresh.toml --set adapter.target_modules=[]",
        "`target_modules` is empty; name modules, as in [\"gate_proj\"]",
    ),
    (
        "a layer that the model does not have",
        "train --config DIR/fresh.toml --set adapter.layers_to_transform=[7]",
        "`layers_to_transform` names layer 7, but the model has 2",
    ),
    (
        "modules to save that the model does not have",
        "train --config DIR/fresh.toml --set adapter.modules_to_save=[\"head\"]",
        "`modules_to_save` [\"head\"] matches no module of the model; it has lm_head, model.embed_tokens",
    ),
    (
        "the head of a model that has none of its own",
        "train --config DIR/fresh.toml --set model.path=DIR/tied --set adapter.modules_to_save=[\"lm_head\"]",
        "`modules_to_save` names `lm_head`, which is tied",
    ),
    (
        "a token that the model does not have",
        "train --config DIR/fresh.toml --set adapter.trainable_token_indices=[99999]",
        "`trainable_token_indices` has 99999, but the model has",
    ),
    (
        "a parameter that the model does not have",
        "train --config DIR/fresh.toml --set adapter={preset='lora',lora_dropout=0,target_parameters=['mlp.experts.up']}",
        "matches no parameter that holds all experts of a layer; the model has none",
    ),
    (
        "a mixture on the experts of a mixture",
        "train --config DIR/fresh.toml --set model.path=DIR/mixtral --set adapter.target_modules=all-linear",
        "is in an expert of the base model",
    ),
    (
        "a negative learning rate",
        "train --config DIR/fresh.toml --set training.learning_rate=-1e-4",
        "`training.learning_rate` is -0.0001, but must be a finite number above 0",
    ),
    (
        "a batch of nothing",
        "train --config DIR/fresh.toml --set training.per_device_train_batch_size=0",
        "`training.per_device_train_batch_size` is 0, but must be at least 1",
    ),
    (
        "a scheduler that does not exist",
        "train --config DIR/fresh.toml --set training.lr_scheduler_type=cosinus",
        "`lr_scheduler_type`: unknown variant `cosinus`, expected one of `constant`, `constant_with_warmup`, `linear`, `cosine`",
    ),
    (
        "a group of parameters that there are not",
        "train --config DIR/fresh.toml --set training.param_groups=[{params='gate_net',learning_rate=1.0}]",
        "`training.param_groups[0].params` is gate_net, but must be found in the name of a trained parameter",
    ),
    (
        "another output_dir type",
        "train --config DIR/fresh.toml --set training.output_dir=3",
        "`training.output_dir` is 3, but must be a path",
    ),
    (
        "the best model without checkpoints",
        "train --config DIR/fresh.toml --set training.load_best_model_at_end=true",
        "`training.save_steps` is 0, but must be above 0 where `training.load_best_model_at_end`",
    ),
    (
        "a learning rate that throws the run off",
        "train --config DIR/fresh.toml --set training.learning_rate=1e30 --set training.max_steps=9 --set training.output_dir=DIR/diverged",
        "the loss is…there is no healthy checkpoint (`training.save_steps`); lower `training.learning_rate` or raise the warm-up",
    ),
    (
        "a metric that nothing measures",
        "train --config DIR/fresh.toml --set training.metric_for_best_model=acc",
        "`training.metric_for_best_model` is acc, but must be one of eval_loss",
    ),
    (
        "early stopping without validation",
        "train --config DIR/fresh.toml --set training.early_stopping_patience=2",
        "`training.early_stopping_patience` is set, but must be unset without validation data",
    ),
    (
        "a policy that does not exist",
        "train --config DIR/fresh.toml --set training.non_finite=ignore",
        "`non_finite`: unknown variant `ignore`, expected one of `error`, `skip`, `rollback`",
    ),
    (
        "the router of a fresh adapter",
        "train --config DIR/fresh.toml --set adapter.train=router",
        "`adapter.train` is \"router\", which needs `adapter.from`",
    ),
    (
        "a start from an adapter that is not there",
        "train --config DIR/fresh.toml --set adapter.from=DIR/absent",
        "DIR/absent: there is no such folder",
    ),
    (
        "a start from an adapter of other keys",
        "train --config DIR/fresh.toml --set adapter.from=DIR/lora",
        "`adapter.lora_alpha` is 32.0, but the adapter in DIR/lora has 4.0; remove the key",
    ),
    (
        "a folder that holds a run",
        "train --config DIR/lora.toml",
        "DIR/lora: already holds a run; continue it with --resume, choose another `training.output_dir`, or have it \
         removed by --overwrite",
    ),
    (
        "nothing to resume",
        "train --config DIR/fresh.toml --resume",
        "DIR/fresh: holds no checkpoint to resume from; start the run without --resume",
    ),
    (
        "a checkpoint that the run does not have",
        "train --config DIR/lora.toml --resume checkpoint-7",
        "checkpoint-7 is no checkpoint of DIR/lora; it has: checkpoint-1",
    ),
    (
        "a run that is resumed with other keys",
        "train --config DIR/lora.toml --resume --set training.seed=1",
        "the run to resume was trained with `training.seed` = 42, but it is now 1; restore it",
    ),
    (
        "a run that is resumed with another adapter",
        "train --config DIR/lora.toml --resume --set adapter.r=4",
        "the checkpoint has another `[adapter]` configuration than the run; restore it",
    ),
    (
        "data that is not there",
        "train --config DIR/fresh.toml --set data.train=[{path=\"DIR/absent.json\"}]",
        "cannot read DIR/absent.json: No such file",
    ),
    (
        "a file without rows",
        "train --config DIR/fresh.toml --set data.train=[{path=\"DIR/empty.json\"}]",
        "no records in `DIR/empty.json`; give at least one file with at least one record",
    ),
    (
        "an empty file",
        "train --config DIR/fresh.toml --set data.train=[{path=\"DIR/empty.jsonl\"}]",
        "no records in `DIR/empty.jsonl`; give at least one file",
    ),
    (
        "a file that ends too early",
        "train --config DIR/fresh.toml --set data.train=[{path=\"DIR/broken.json\"}]",
        "DIR/broken.json, line 1: EOF while parsing",
    ),
    (
        "columns that nothing reads",
        "train --config DIR/fresh.toml --set data.train=[{path=\"DIR/columns.json\"}]",
        "DIR/columns.json, row 0",
    ),
    (
        "a number for a text",
        "train --config DIR/fresh.toml --set data.train=[{path=\"DIR/typed.json\"}]",
        "DIR/typed.json, row 0: `instruction` is the number 3; allowed: a string",
    ),
    (
        "a file of another program",
        "train --config DIR/fresh.toml --set data.train=[{path=\"DIR/data.xlsx\"}]",
        "DIR/data.xlsx: not JSON, which begins with `[` or `{`, but `PK`",
    ),
    (
        "a template that does not exist",
        "train --config DIR/fresh.toml --set data.template=alpacca",
        "in `[data]`, `template`: unknown variant `alpacca`, expected one of `alpaca`",
    ),
    (
        "a chat template that the tokenizer lacks",
        "train --config DIR/fresh.toml --set data.template=chat",
        "the model has no chat template; it is probably not a chat model",
    ),
    (
        "samples that are too long for all",
        "train --config DIR/fresh.toml --set data.max_length=2",
        "no sample has a target left within `max_length`…raise `max_length`",
    ),
    (
        "more held out than there is",
        "train --config DIR/fresh.toml --set data.validation_split=500",
        "`validation_split` is 500 of 120 samples; allowed: fewer",
    ),
    (
        "a share above all",
        "train --config DIR/fresh.toml --set data.validation_split=1.5",
        "`validation_split` is the share 1.5; allowed: a share above 0 and below 1",
    ),
    ("neither tasks nor data", "eval --model DIR/model", "required arguments were not provided"),
    (
        "a task that does not exist",
        "eval --model DIR/model --tasks arc_eazy --output DIR/scores",
        "no task, group or tag is named `arc_eazy`; did you mean `arc_easy`?",
    ),
    (
        "a typo in a task file",
        "eval --model DIR/model --tasks DIR/typo.yaml --output DIR/scores",
        "DIR/typo.yaml, line 7: unknown key `doc_to_txt`; did you mean `doc_to_text`?",
    ),
    (
        "a metric that does not exist",
        "eval --model DIR/model --tasks DIR/metric.yaml --output DIR/scores",
        "DIR/metric.yaml, line 10: `metric_list.metric` is 'accuracy_score'; allowed: a known name",
    ),
    (
        "a column that the data lacks",
        "eval --model DIR/model --tasks DIR/column.yaml --output DIR/scores",
        "DIR/column.yaml, line 7: `doc_to_text` asks for `question`, which DIR/rows.jsonl, line 1 lacks; its columns are q, c, a",
    ),
    (
        "data of a task that is not there",
        "eval --model DIR/model --tasks DIR/file.yaml --output DIR/scores",
        "task `t`: no data for split `test` of `json`: no file `DIR/absent.jsonl`…Save it there",
    ),
    (
        "tasks without an output",
        "eval --model DIR/model --tasks DIR/task.yaml",
        "required arguments were not provided",
    ),
    (
        "more examples than there are",
        "eval --model DIR/model --tasks DIR/task.yaml --num-fewshot 5 --output DIR/scores",
        "task `t`: 5 examples asked for, but the split of the examples has 1",
    ),
    (
        "a comparison with what is no evaluation",
        "eval --compare DIR/lora DIR/model",
        "DIR/lora/results.json: no such file, so the folder holds no finished evaluation",
    ),
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
