#!/usr/bin/env python3
"""Writes expected.json of the golden tasks: make_golden.py --model STORIES260K --golden crates/evaluation/tests/golden/harness

The documents and tasks in that folder are our own and small; what the LM evaluation harness makes of them is kept per case: every request and response
of every document, the filtered responses, the values of the metrics, and the aggregates with their standard errors. The chat cases give the model a
template of our own, kept in the file, since this one comes without.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from run_reference import plain

TEMPLATE = ("{% for message in messages %}{{ message['role'] + ': ' + message['content'] }}"
            "{% if not loop.last or add_generation_prompt %}{{ '\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'assistant:' }}{% endif %}")
EVERY = ["golden_choices", "golden_choices_first_n", "golden_choices_same_split", "golden_gen_prefix", "golden_letters", "golden_contexts", "golden_last_word",
         "golden_empty_context", "golden_pages", "golden_facts", "golden_sums", "golden_words", "golden_story"]
SHOTS = [task for task in EVERY if task not in ("golden_pages", "golden_empty_context", "golden_story")]
CASES = [
    {"name": "zero_shot", "tasks": EVERY, "num_fewshot": 0},
    {"name": "default_shots", "tasks": ["golden_sums"]},
    {"name": "three_shots", "tasks": SHOTS, "num_fewshot": 3},
    {"name": "six_shots_limit", "tasks": ["golden_choices", "golden_facts"], "num_fewshot": 6, "limit": 4},
    {"name": "limit_share", "tasks": ["golden_letters"], "num_fewshot": 1, "limit": 0.25},
    {"name": "group", "tasks": ["golden_group"], "num_fewshot": 0},
    {"name": "group_unweighted", "tasks": ["golden_group_unweighted"], "num_fewshot": 0},
    {"name": "chat", "tasks": ["golden_choices", "golden_contexts", "golden_gen_prefix", "golden_facts"], "num_fewshot": 0, "apply_chat_template": True},
    {"name": "chat_shots", "tasks": ["golden_choices_first_n", "golden_contexts", "golden_gen_prefix", "golden_facts"], "num_fewshot": 2,
     "apply_chat_template": True, "system_instruction": "Be brief."},
    {"name": "chat_shots_one_turn", "tasks": ["golden_choices_first_n", "golden_contexts", "golden_gen_prefix", "golden_facts"], "num_fewshot": 2,
     "apply_chat_template": True, "fewshot_as_multiturn": False},
]


def short(sample):
    kept = {"doc_id": sample["doc_id"], "target": sample["target"], "filter": sample["filter"],
            "arguments": [[part for part in argument if isinstance(part, str)] for argument in sample["arguments"]],
            "resps": [response[0] for response in sample["resps"]], "filtered_resps": sample["filtered_resps"],
            "metrics": {name: sample[name] for name in sample["metrics"]}}
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--golden", required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = os.path.abspath(options.model)
    os.chdir(options.golden)        # the tasks' data files are relative to this folder
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        with open(f"{folder}/tokenizer_config.json", encoding="utf-8") as file:
            tokenizer = json.load(file)
        with open(f"{folder}/tokenizer_config.json", "w", encoding="utf-8") as file:
            json.dump({**tokenizer, "chat_template": TEMPLATE}, file)
        model = HFLM(pretrained=folder, dtype="float32", device="cpu", batch_size=1)
        tasks, cases = TaskManager(include_path="tasks"), []
        for case in CASES:
            chat = case.get("apply_chat_template", False)
            results = simple_evaluate(
                model, tasks=case["tasks"], task_manager=tasks, num_fewshot=case.get("num_fewshot"), limit=case.get("limit"), apply_chat_template=chat,
                fewshot_as_multiturn=case.get("fewshot_as_multiturn", chat), system_instruction=case.get("system_instruction"), log_samples=True,
                bootstrap_iters=1000)
            cases.append({**case, "bootstrap_iters": 1000, "results": results["results"],
                          "samples": {task: [short(s) for s in samples] for task, samples in results["samples"].items()}})
    with open("expected.json", "w", encoding="utf-8") as file:
        text = json.dumps({"lm_eval": "0.4.13", "model": "stories260K, float32", "chat_template": TEMPLATE, "cases": cases}, ensure_ascii=False, default=plain)
        file.write(text.replace('{"doc_id"', '\n{"doc_id"') + "\n")
    print(f"{len(cases)} cases, {os.path.getsize('expected.json')} bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
