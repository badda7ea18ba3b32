use super::Mistake;

/// Data of runs.
pub const DATA: &[Mistake] = &[
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
];
