//! What is wrong with a task file, or does not fit its data, is named with file, key and row.
#![allow(clippy::unwrap_used)]

use std::fs;

use eval_tasks::{DataSources, Limit, PromptOptions, Task, TaskIndex};

/// The error of a task whose file has these lines besides a working task's, on two rows.
fn error_with(replaced: &[(&str, &str)], rows: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = vec![
        ("task", "t"),
        ("dataset_path", "json"),
        ("dataset_kwargs", "{data_files: {test: rows.jsonl}}"),
        ("test_split", "test"),
        ("output_type", "multiple_choice"),
        ("doc_to_text", "'{{question}}'"),
        ("doc_to_choice", "choices"),
        ("doc_to_target", "gold"),
    ];
    for (key, value) in replaced {
        lines.retain(|(known, _)| known != key);
        if !value.is_empty() {
            lines.push((key, value));
        }
    }
    let text: String = lines.iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
    fs::write(folder.path().join("t.yaml"), text).unwrap();
    fs::write(folder.path().join("rows.jsonl"), rows).unwrap();
    let run = || -> Result<(), Box<dyn std::error::Error>> {
        let path = folder.path().join("t.yaml");
        let selection = TaskIndex::shipped()?.select(&[path.to_str().unwrap()])?;
        for (_, config) in selection.tasks {
            let task = Task::load(config, &DataSources::default(), None)?;
            task.instances(&PromptOptions::default(), Limit::All)?;
        }
        Ok(())
    };
    let error = run().err().map(|error| error.to_string()).unwrap_or_default();
    error.replace(&format!("{}/", folder.path().display()), "")
}

const ROWS: &str = "{\"question\": \"1?\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\n\
    {\"question\": \"2?\", \"choices\": [\"a\", \"b\"], \"gold\": 1}\n";

#[test]
fn the_task_itself_works() {
    assert_eq!(error_with(&[], ROWS), "");
}

#[test]
fn wrong_keys_and_values_are_named() {
    for (replaced, expected) in [
        (
            ("doc_to_txt", "x"),
            "t.yaml, line 9: unknown key `doc_to_txt`; did you mean `doc_to_text`",
        ),
        (
            ("output_type", "multiple_choise"),
            "t.yaml, line 8: `output_type` is 'multiple_choise'; allowed: loglikelihood, ",
        ),
        (
            ("metric_list", "[{metric: acc_nrom}]"),
            "`metric_list.metric` is 'acc_nrom'; allowed: a known name; did you mean `acc_norm`?",
        ),
        (
            ("metric_list", "[{metric: exact_match, ignore_cases: true}]"),
            "unknown key `metric_list.ignore_cases`; did you mean `ignore_case`?",
        ),
        (
            ("metric_list", "[{metric: squad_f1}]"),
            "`metric_list.metric` is squad_f1; allowed: for output_type multiple_choice: acc, ",
        ),
        (("filter_list", "[{name: f, filter: [{function: regx}]}]"), "did you mean `regex`?"),
        (
            ("filter_list", "[{name: f, filter: [{function: regex, regex_pattern: '(a'}]}]"),
            "a regular expression (",
        ),
        (("num_fewshot", "two"), "`num_fewshot` is 'two'; allowed: a whole number"),
        (
            ("fewshot_config", "{sampler: balanced}"),
            "`fewshot_config.sampler` is 'balanced'; allowed: default, first_n",
        ),
        (("test_split", ""), "t.yaml, line 1: the key `test_split` is missing"),
        (
            ("doc_to_choice", ""),
            "the key `doc_to_choice` is missing: output_type multiple_choice needs it",
        ),
        (("include", "other.yaml"), "`include` is 'other.yaml'; allowed: a file beside `t.yaml`"),
    ] {
        let error = error_with(&[replaced], ROWS);
        assert!(error.contains(expected), "{error}\n  instead of\n{expected}");
    }
}

#[test]
fn python_is_refused_with_what_to_write_instead() {
    let error = error_with(&[("doc_to_text", "!function utils.prompt")], ROWS);
    assert!(
        error.starts_with(
            "t.yaml, line 8: `doc_to_text: !function utils.prompt` is Python code, which is not \
             run here. Write a Jinja template"
        ),
        "{error}"
    );
}

#[test]
fn templates_and_rows_that_do_not_fit_are_named() {
    let lacking = "{\"question\": \"1?\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\n\
        {\"choices\": [\"a\", \"b\"], \"gold\": 1}\n";
    assert_eq!(
        error_with(&[], lacking),
        "t.yaml, line 6: `doc_to_text` asks for `question`, which rows.jsonl, line 2 lacks; its \
         columns are choices, gold"
    );
    let error = error_with(&[("doc_to_text", "'{{question'")], ROWS);
    assert!(error.starts_with("t.yaml, line 8: `doc_to_text`: syntax error"), "{error}");
    let error = error_with(&[("doc_to_text", "'{{question.strip(1, 2)}}'")], ROWS);
    assert!(error.starts_with("t.yaml, line 8: `doc_to_text` on rows.jsonl, line 1: "), "{error}");
    let error = error_with(&[("doc_to_text", "'{{qestion}}'")], ROWS);
    assert!(
        error.contains("`doc_to_text` asks for `qestion`, which rows.jsonl, line 1 lacks"),
        "{error}"
    );
    let error = error_with(&[("doc_to_choice", "'{{question}}'")], ROWS);
    assert!(error.ends_with("`1?` is no list of choices"), "{error}");
}

#[test]
fn data_that_does_not_fit_is_named() {
    assert_eq!(error_with(&[], ""), "task `t`: split `test` has no rows (`rows.jsonl`)");
    let error = error_with(&[("test_split", "dev")], ROWS);
    assert!(
        error.contains("no data for split `dev` of `json`: dataset_kwargs.data_files has test"),
        "{error}"
    );
    let error = error_with(&[], "{\"question\": }\n");
    assert!(error.starts_with("task `t`: rows.jsonl, line 1: expected value"), "{error}");
    let error = error_with(&[("num_fewshot", "3")], ROWS);
    assert!(error.contains("3 examples asked for, but the split of the examples has 2"), "{error}");
}

#[test]
fn names_that_are_not_there_or_there_twice_are_named() {
    let index = TaskIndex::shipped().unwrap();
    let error = index.select(&["arc_esy"]).err().unwrap().to_string();
    assert_eq!(error, "no task, group or tag is named `arc_esy`; did you mean `arc_easy`?");
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.yaml", "b.yaml"] {
        fs::write(folder.path().join(name), "task: same\n").unwrap();
    }
    let error = TaskIndex::with_folders(&[folder.path().to_owned()]).err().unwrap().to_string();
    assert!(error.starts_with("`same` is defined twice: "), "{error}");
}
