use super::Mistake;

/// Configurations of runs, and folders that hold one.
pub const TRAINING: &[Mistake] = &[
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
        "a run that is resumed with other data",
        "train --config DIR/lora.toml --resume --set data.train_on_prompt=true",
        "the run to resume was trained with other training data, ",
    ),
    (
        "a run that is resumed with another adapter",
        "train --config DIR/lora.toml --resume --set adapter.r=4",
        "the checkpoint has another `[adapter]` configuration than the run: `adapter.r` = 2, but it is now 4",
    ),
];
