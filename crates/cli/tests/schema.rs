//! The JSON Schema of a run's file says what the parser says.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use lora_moe::finetune::run::{AnyRunConfig, run_template};
use lora_moe::moe_adapter::Preset;
use serde_json::Value;
use support::succeeds;

const RUN: &str = "[model]\npath = \"m\"\n[adapter]\nr = 2\nlora_alpha = 4\nnum_experts = 4\n\
                   target_modules = \"all-linear\"\n[data]\ntrain = [{ path = \"a.json\" }]\n\
                   [training]\noutput_dir = \"o\"\n";

fn schema() -> Value {
    serde_json::from_str(&succeeds(&["config", "--schema"])).unwrap()
}

/// What the parser would have taken in place of `bogus`: keys of a table, or variants.
fn known(overrides: &[&str]) -> BTreeSet<String> {
    let overrides: Vec<_> = overrides.iter().map(|one| (*one).to_owned()).collect();
    let error = AnyRunConfig::from_toml(RUN, "run.toml", &overrides).unwrap_err().to_string();
    assert!(error.contains("unknown") && error.contains("`bogus`"), "{overrides:?}: {error}");
    let (_, expected) = error.split_once("`bogus`").unwrap();
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn names(value: &Value) -> BTreeSet<String> {
    match value {
        Value::Object(map) => map.keys().cloned().collect(),
        Value::Array(list) => list.iter().map(|one| one.as_str().unwrap().to_owned()).collect(),
        other => panic!("{other}"),
    }
}

/// Fails with the names that only one of the two has.
fn same(what: &str, schema: &Value, parser: BTreeSet<String>, besides: &[&str]) {
    let mut schema = names(schema);
    for name in besides {
        assert!(schema.remove(*name), "{what}: {name}");
    }
    assert_eq!(schema, parser, "{what}: crates/cli/src/command/recipe.schema.json and the parser");
}

#[test]
fn every_table_has_the_keys_that_the_parser_knows() {
    let schema = schema();
    let at = |path: &str| schema.pointer(path).unwrap_or_else(|| panic!("{path}"));
    let section = |name: &str| format!("/properties/{name}/properties");
    same("[model]", at(&section("model")), known(&["model.bogus=1"]), &[]);
    let besides = ["preset", "from", "train"];
    same("[adapter]", at(&section("adapter")), known(&["adapter.bogus=1"]), &besides);
    same("[training]", at(&section("training")), known(&["training.bogus=1"]), &["output_dir"]);
    let data = at("/definitions/data_of_language_models/properties");
    same("[data]", data, known(&["data.bogus=1"]), &["task"]);
    let task = "data.task=sequence_classification";
    let data = at("/definitions/data_of_encoders/properties");
    same("[data] of encoders", data, known(&[task, "data.bogus=1"]), &[]);
    let file = at("/definitions/file/properties");
    same("train", file, known(&["data.train=[{path=\"a\",bogus=1}]"]), &[]);
    for table in ["columns", "tags"] {
        let file = &file[table]["properties"];
        let set = format!("data.train=[{{path=\"a\",{table}={{bogus=1}}}}]");
        same(table, file, known(&[&set]), &[]);
    }
    let file = at("/definitions/labelled_file/properties");
    same("train of encoders", file, known(&[task, "data.train=[{path=\"a\",bogus=1}]"]), &[]);
    let evaluation = at("/properties/evaluation/items/properties");
    let set = "evaluation=[{tasks=[\"t\"],bogus=1}]";
    same("[[evaluation]]", evaluation, known(&[set]), &[]);
    let kwargs = &at(&section("training"))["lr_scheduler_kwargs"]["properties"];
    same("kwargs", kwargs, known(&["training.lr_scheduler_kwargs={bogus=1}"]), &[]);
    let groups = &at(&section("training"))["param_groups"]["items"]["properties"];
    same("param_groups", groups, known(&["training.param_groups=[{bogus=1}]"]), &[]);
    let gate = at("/definitions/gate/properties");
    let set = "adapter.router={type=\"dense\",gate={bogus=1}}";
    same("gate", gate, known(&[set]), &[]);
}

#[test]
fn every_kind_of_part_has_the_keys_that_the_parser_knows() {
    let schema = schema();
    for part in ["router", "experts", "init", "balance_loss", "scaling"] {
        let part_schema = &schema["definitions"][part];
        let types = &part_schema["properties"]["type"]["enum"];
        let set = format!("adapter.{part}={{type=\"bogus\"}}");
        same(part, types, known(&[&set]), &[]);
        let rules = part_schema["allOf"].as_array().unwrap();
        assert_eq!(rules.len(), types.as_array().unwrap().len(), "{part}");
        for rule in rules {
            let name = rule["if"]["properties"]["type"]["const"].as_str().unwrap();
            let keys = &rule["then"]["propertyNames"]["enum"];
            if name == "lora_alpha" {
                // A variant that has no keys passes over what it is given.
                assert_eq!(names(keys), BTreeSet::from(["type".to_owned()]));
                continue;
            }
            let set = format!("adapter.{part}={{type=\"{name}\",bogus=1}}");
            same(&format!("{part} {name}"), keys, known(&[&set]), &["type"]);
        }
    }
}

#[test]
fn every_list_of_values_is_that_of_the_parser() {
    let schema = schema();
    let mut count = 0;
    for section in ["model", "adapter", "training"] {
        for (key, value) in schema["properties"][section]["properties"].as_object().unwrap() {
            let set = format!("{section}.{key}=bogus");
            match value.get("enum") {
                // Its error names them in another form.
                Some(values) if key == "preset" => {
                    let presets = Preset::ALL.iter().map(|preset| preset.name().to_owned());
                    same(key, values, presets.collect(), &[]);
                }
                Some(values) => same(&set, values, known(&[&set]), &[]),
                None => continue,
            }
            count += 1;
        }
    }
    assert!(count >= 10, "{count}");
    for part in ["router", "init", "balance_loss", "gate"] {
        for (key, value) in schema["definitions"][part]["properties"].as_object().unwrap() {
            let (Some(values), true) = (value.get("enum"), key != "type") else { continue };
            // A kind that has the key.
            let rules = schema["definitions"][part]["allOf"].as_array().into_iter().flatten();
            let kind = rules.filter_map(|rule| {
                let keys = names(&rule["then"]["propertyNames"]["enum"]);
                keys.contains(key).then(|| rule["if"]["properties"]["type"]["const"].as_str())
            });
            let set = match kind.flatten().next() {
                Some(kind) => format!("adapter.{part}={{type=\"{kind}\",{key}=\"bogus\"}}"),
                None => format!("adapter.router={{type=\"dense\",gate={{{key}=\"bogus\"}}}}"),
            };
            same(&set, values, known(&[&set]), &[]);
        }
    }
}

/// What is wrong with a value, by the words of the schema that this one uses.
fn wrong(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let told = |what: &str| Some(format!("{at}: {what}: {value}"));
    let rules = schema.as_object()?;
    for (word, rule) in rules {
        let found = match word.as_str() {
            "$ref" => {
                let path = rule.as_str().unwrap().trim_start_matches('#');
                wrong(root, root.pointer(path).unwrap(), value, at)
            }
            "type" => {
                let fits = match rule.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "number" => value.is_number(),
                    other => panic!("type {other}"),
                };
                if fits { None } else { told("type") }
            }
            "enum" if !rule.as_array().unwrap().contains(value) => told("enum"),
            "const" if rule != value => told("const"),
            "minimum" if value.as_f64().is_some_and(|v| v < rule.as_f64().unwrap()) => told(word),
            "required" => {
                let lacks = |key: &&Value| value.get(key.as_str().unwrap()).is_none();
                rule.as_array().unwrap().iter().find(lacks).and_then(|_| told("required"))
            }
            "items" => {
                let items = value.as_array().into_iter().flatten();
                items.filter_map(|item| wrong(root, rule, item, at)).next()
            }
            "properties" => value.as_object().into_iter().flatten().find_map(|(key, value)| {
                wrong(root, rule.get(key)?, value, &format!("{at}.{key}"))
            }),
            "additionalProperties" => {
                let known = |key: &String| schema["properties"].get(key).is_some();
                let others = value.as_object().into_iter().flatten().filter(|(key, _)| !known(key));
                let refuse = |value| match rule {
                    Value::Bool(false) => told("a key that is not known"),
                    rule => wrong(root, rule, value, at),
                };
                others.filter_map(|(_, value)| refuse(value)).next()
            }
            "propertyNames" => {
                let mut keys = value.as_object().into_iter().flatten().map(|(key, _)| key);
                keys.find(|key| wrong(root, rule, &Value::from(key.as_str()), at).is_some())
                    .and_then(|key| told(key))
            }
            "anyOf" => {
                let mut any = rule.as_array().unwrap().iter();
                let fits = any.any(|one| wrong(root, one, value, at).is_none());
                if fits { None } else { told("none of what is allowed") }
            }
            "allOf" => rule.as_array().unwrap().iter().find_map(|one| wrong(root, one, value, at)),
            "if" => {
                let branch = if wrong(root, rule, value, at).is_none() { "then" } else { "else" };
                rules.get(branch).and_then(|one| wrong(root, one, value, at))
            }
            "enum" | "const" | "minimum" | "then" | "else" | "description" | "title"
            | "$schema" | "definitions" => None,
            // Only of how often activations are computed again.
            "pattern" => None,
            other => panic!("{at}: this test does not know `{other}`"),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

fn refused(schema: &Value, text: &str) -> Option<String> {
    let value = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    wrong(schema, schema, &value, "")
}

#[test]
fn what_the_command_and_the_book_show_is_valid() {
    let schema = schema();
    for preset in Preset::ALL {
        assert_eq!(refused(&schema, &run_template(preset)), None, "{}", preset.name());
    }
    let mut count = 0;
    for page in ["getting-started.md", "training.md", "encoders.md", "configuration.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src").join(page);
        let text = std::fs::read_to_string(path).unwrap();
        for block in text.split("\n```toml\n").skip(1) {
            let block = block.split("\n```").next().unwrap();
            let whole = ["[model]", "[adapter]", "[data]", "[training]"];
            if whole.iter().all(|table| block.contains(table)) {
                assert_eq!(refused(&schema, block), None, "{page}: {block}");
                count += 1;
            }
        }
    }
    assert!(count >= 2, "{count} whole recipes in the book");
}

#[test]
fn what_the_parser_refuses_is_invalid() {
    let schema = schema();
    assert_eq!(refused(&schema, RUN), None);
    for (from, to) in [
        ("r = 2", "r = \"2\""),
        ("r = 2", "rank = 2"),
        ("r = 2", "r = 0"),
        ("num_experts = 4", "num_experts = 0"),
        ("[training]", "[training]\nlogging_steps = 0"),
        ("r = 2", "r = 2\nrouter = { type = \"top_k\", p = 0.5 }"),
        ("r = 2", "r = 2\nrouter = { type = \"top\" }"),
        ("r = 2", "r = 2\nrouter = { type = \"top_k\", gate = { bogus = 1 } }"),
        ("r = 2", "r = 2\nbalance_loss = { type = \"sum\", losses = [{ type = \"x\" }] }"),
        ("[training]", "[training]\nlr_scheduler_type = \"cos\""),
        ("[training]", "[training]\npacking = 1"),
        ("{ path = \"a.json\" }", "{ file = \"a.json\" }"),
        ("[data]", "[data]\ntask = \"regression\"\ntemplate = \"plain\""),
        ("[data]\ntrain", "[datum]\ntrain"),
    ] {
        let text = RUN.replace(from, to);
        assert_ne!(text, RUN, "{from}");
        assert!(AnyRunConfig::from_toml(&text, "run.toml", &[]).is_err(), "{to} is taken");
        assert!(refused(&schema, &text).is_some(), "{to}");
    }
}
