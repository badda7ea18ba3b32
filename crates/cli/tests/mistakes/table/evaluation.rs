use super::Mistake;

/// Tasks and their files.
pub const EVALUATION: &[Mistake] = &[
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
];
