#!/usr/bin/env python3
"""Makes a folder of task files that name local data, for both sides of the comparison with the LM evaluation harness.

    local_tasks.py --data DATASETS --output FOLDER [--source FOLDER_OF_TASK_FILES]

The definitions come from the installed lm_eval, or with --source from any folder of task files with the same names (our shipped ones): only the place of
the data, the splits that the data has, and the name (`local_` before it) are replaced. What a file of DATASETS cannot be read as directly (MMLU's
subjects, WikiText's pages, BoolQ's question inside an instruction) is written to FOLDER/data. Tasks that the harness does not ship follow in `OWN`.
"""
import argparse
import json
import os
import re
import sys
from importlib.util import find_spec

import yaml


class Function(str):
    """`!function module.name`, kept as text."""


class Loader(yaml.SafeLoader):
    """Reads `!function` as text."""


class Dumper(yaml.SafeDumper):
    """Writes `Function` as `!function`, and never an anchor, which not every reader knows."""

    def ignore_aliases(self, data):
        return True


Loader.add_constructor("!function", lambda loader, node: Function(loader.construct_scalar(node)))
Dumper.add_representer(Function, lambda dumper, value: dumper.represent_scalar("!function", str(value)))

# Task of the harness -> (its definition, split -> file). A file below `data/` is one that `convert` writes.
SHIPPED = {
    "arc_easy": ("arc/arc_easy.yaml", {s: f"hub_layout/arc_easy.{s}.jsonl" for s in ("train", "validation", "test")}),
    "arc_challenge": ("arc/arc_challenge.yaml", {s: f"hub_layout/arc_challenge.{s}.jsonl" for s in ("train", "validation", "test")}),
    "piqa": ("piqa/piqa.yaml", {"validation": "hub_layout/piqa.validation.jsonl"}),
    "openbookqa": ("openbookqa/openbookqa.yaml", {"train": "hub_layout/openbookqa.train.jsonl", "test": "hub_layout/openbookqa.test.jsonl"}),
    "winogrande": ("winogrande/default.yaml", {"validation": "hub_layout/winogrande.validation.jsonl"}),
    "social_iqa": ("siqa/siqa.yaml", {"validation": "hub_layout/social_iqa.validation.jsonl"}),
    "wikitext": ("wikitext/wikitext.yaml", {"test": "data/wikitext.test.jsonl"}),
    "gsm8k": ("gsm8k/gsm8k.yaml", {"train": "gsm8k/train.jsonl", "test": "gsm8k/test.jsonl"}),
    "nq_open": ("nq_open/nq_open.yaml", {"validation": "nq_open/NQ-open.dev.jsonl"}),
    "triviaqa": ("triviaqa/default.yaml", {"validation": "data/triviaqa.validation.jsonl"}),
}
MMLU = "mmlu/default"
# Keys that point into the source's own folder or say nothing about the prompt.
DROPPED = ("include", "should_decontaminate", "doc_to_decontamination_query")

# Tasks of our own over the same data, for what the harness's list above does not reach.
OWN = {
    # BoolQ without its passages (LLM-Adapters publishes only the questions): the harness's prompt less the passage.
    "boolq_no_passage": ({"validation": "data/boolq.validation.jsonl"}, {
        "output_type": "multiple_choice", "validation_split": "validation", "doc_to_text": "Question: {{question}}?\nAnswer:",
        "doc_to_target": "label", "doc_to_choice": ["no", "yes"], "metric_list": [{"metric": "acc"}]}),
    # The same with the two metrics whose standard error is bootstrapped.
    "boolq_f1": ({"validation": "data/boolq.validation.jsonl"}, {
        "output_type": "multiple_choice", "validation_split": "validation", "doc_to_text": "Question: {{question}}?\nAnswer:",
        "doc_to_target": "label", "doc_to_choice": ["no", "yes"],
        "metric_list": [{"metric": m, "aggregation": a, "higher_is_better": True}
                        for m, a in (("acc", "mean"), ("f1", "f1"), ("mcc", "matthews_corrcoef"))]}),
    # LLM-Adapters' form, as in GOAT's and SLIM's tables: generate, find the answer's word.
    "llm_adapters_boolq": ({"test": "llm_adapters/boolq/test.json"}, {
        "output_type": "generate_until", "test_split": "test",
        "doc_to_text": "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
                       "### Instruction:\n{{instruction}}\n\n### Response:\n",
        "doc_to_target": "{{answer}}", "target_delimiter": "", "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 32},
        "filter_list": [{"name": "answer", "filter": [{"function": "regex", "regex_pattern": "true|false"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}]}),
    # The last word of a question, whole: `loglikelihood` with perplexity and its bootstrap.
    "last_word": ({"test": "gsm8k/test.jsonl"}, {
        "output_type": "loglikelihood", "test_split": "test", "doc_to_text": "{{question.split(' ')[:-1]|join(' ')}}",
        "doc_to_target": " {{question.split(' ')[-1]}}",
        "metric_list": [{"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
                        {"metric": "acc", "aggregation": "mean", "higher_is_better": True}]}),
    # Winogrande without python: the index of the gold context, the contexts, the continuation they share.
    "winogrande_jinja": ({"validation": "hub_layout/winogrande.validation.jsonl"}, {
        "output_type": "multiple_choice", "validation_split": "validation", "doc_to_text": "{{answer|int - 1}}",
        "doc_to_choice": "{{[sentence.split('_')[0] + option1, sentence.split('_')[0] + option2]}}",
        "doc_to_target": "{{sentence.split('_', 1)[1].strip()}}", "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}),
    # WikiText's pages as they are, counted as they are.
    "wikitext_raw": ({"test": "data/wikitext.test.jsonl"}, {
        "output_type": "loglikelihood_rolling", "test_split": "test", "doc_to_text": "", "doc_to_target": "{{page}}",
        "metric_list": [{"metric": m} for m in ("word_perplexity", "byte_perplexity", "bits_per_byte")]}),
    # GSM8K capped at fewer tokens, for machines on which 256 take too long.
    "gsm8k_short": ({"train": "gsm8k/train.jsonl", "test": "gsm8k/test.jsonl"}, {
        "output_type": "generate_until", "training_split": "train", "fewshot_split": "train", "test_split": "test",
        "doc_to_text": "Question: {{question}}\nAnswer:", "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["Question:", "</s>", "<|im_end|>"], "do_sample": False, "temperature": 0.0, "max_gen_toks": 96},
        "filter_list": [{"name": "strict-match", "filter": [{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}, {"function": "take_first"}]},
                        {"name": "flexible-extract", "filter": [{"function": "regex", "group_select": -1,
                                                                 "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True,
                         "ignore_punctuation": False, "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"]}]}),
    # ARC's answer after a prefix that opens the model's turn.
    "arc_gen_prefix": ({"train": "hub_layout/arc_easy.train.jsonl", "test": "hub_layout/arc_easy.test.jsonl"}, {
        "output_type": "multiple_choice", "training_split": "train", "fewshot_split": "train", "test_split": "test",
        "description": "Answer each question.\n\n", "gen_prefix": "Answer:", "doc_to_text": "Question: {{question}}",
        "doc_to_target": "{{choices.label.index(answerKey)}}", "doc_to_choice": "{{choices.text}}", "target_delimiter": "\n",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}]}),
}


def read(path, seen=()):
    """A task file with its includes, local keys before included ones."""
    with open(path, encoding="utf-8") as file:
        task = yaml.load(file, Loader)
    includes = task.pop("include", None)
    merged = {}
    for name in includes if isinstance(includes, list) else [includes] if includes else []:
        merged.update(read(os.path.join(os.path.dirname(path), name)))
    return {**merged, **task}


def lines(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def convert(datasets, folder):
    """Writes the data that no file of `datasets` holds in a task's form."""
    os.makedirs(folder, exist_ok=True)
    with open(f"{datasets}/hub_layout/wikitext2.test.txt", encoding="utf-8") as file:      # universal newlines: CRLF becomes LF
        text = file.read()
    starts = [m.start() for m in re.finditer(r"(?m)^ = [^=\n]+ = $", text)]
    lines(f"{folder}/wikitext.test.jsonl", ({"page": text[a:b]} for a, b in zip(starts, starts[1:] + [len(text)])))
    for split in ("dev", "test"):
        subjects = {}
        with open(f"{datasets}/hub_layout/mmlu.{split}.jsonl", encoding="utf-8") as file:
            for row in map(json.loads, file):
                subjects.setdefault(row["subject"], []).append(row)
        for subject, rows in subjects.items():
            lines(f"{folder}/mmlu_{subject}.{split}.jsonl", rows)
    with open(f"{datasets}/triviaqa_small/triviaqa.json", encoding="utf-8") as file:
        lines(f"{folder}/triviaqa.validation.jsonl",
              ({"question": row["question"], "answer": {"value": row["gold_answer"], "aliases": row["aliases"]}} for row in json.load(file)))
    with open(f"{datasets}/llm_adapters/boolq/test.json", encoding="utf-8") as file:
        question = re.compile(r"question: (.*?)\?*\n\nAnswer format", re.S)
        lines(f"{folder}/boolq.validation.jsonl",
              ({"question": question.search(row["instruction"]).group(1), "label": int(row["answer"] == "true")} for row in json.load(file)))


def local(name, task, files, datasets, folder):
    """`task` on local files: splits that no file holds are left out."""
    task = {key: value for key, value in task.items() if key not in DROPPED and value is not None}
    for key in ("training_split", "validation_split", "test_split", "fewshot_split"):
        if task.get(key) not in files:
            task.pop(key, None)
    task.pop("dataset_name", None)
    if isinstance(task.get("tag"), str):
        task["tag"] = f"local_{task['tag']}"
    elif task.get("tag"):
        task["tag"] = [f"local_{tag}" for tag in task["tag"]]
    paths = {s: os.path.abspath(os.path.join(folder if f.startswith("data/") else datasets, f)) for s, f in files.items()}
    for path in paths.values():
        if not os.path.exists(path):
            raise SystemExit(f"{path}: not there, and task {name} needs it")
    return {**task, "task": f"local_{name}", "dataset_path": "json", "dataset_kwargs": {"data_files": paths}}


def write(folder, name, task):
    with open(f"{folder}/{name}.yaml", "w", encoding="utf-8") as file:
        yaml.dump(task, file, Dumper, sort_keys=False, allow_unicode=True, width=1000)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="the folder that holds hub_layout, gsm8k, nq_open, triviaqa_small and llm_adapters")
    parser.add_argument("--output", required=True)
    parser.add_argument("--source", help="folder of task files NAME.yaml instead of the installed lm_eval's")
    options = parser.parse_args()
    datasets, folder = os.path.abspath(options.data), os.path.abspath(options.output)
    convert(datasets, f"{folder}/data")
    harness = os.path.join(os.path.dirname(find_spec("lm_eval").origin), "tasks") if not options.source else None
    for name, (path, files) in SHIPPED.items():
        source = os.path.join(harness, path) if harness else os.path.join(options.source, f"{name}.yaml")
        write(folder, name, local(name, read(source), files, datasets, folder))
    if harness:
        mmlu = os.path.join(harness, MMLU)
        for file in sorted(os.listdir(mmlu)):
            if not file.endswith(".yaml"):
                continue
            task = read(os.path.join(mmlu, file))
            if "group" in task:
                task["group"] = f"local_{task['group']}"
                task["task"] = [f"local_{member}" for member in task["task"]]
                write(folder, file.removesuffix(".yaml").lstrip("_"), task)
            else:
                subject = task["task"].removeprefix("mmlu_")
                files = {s: f"data/mmlu_{subject}.{s}.jsonl" for s in ("dev", "test")}
                write(folder, task["task"], local(task["task"], task, files, datasets, folder))
    for name, (files, task) in OWN.items():
        write(folder, name, local(name, {**task, "metadata": {"version": 1}}, files, datasets, folder))
    print(f"{folder}: {sum(f.endswith('.yaml') for f in os.listdir(folder))} task files", file=sys.stderr)


if __name__ == "__main__":
    main()
