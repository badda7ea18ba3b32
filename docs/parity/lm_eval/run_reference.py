#!/usr/bin/env python3
"""Runs the LM evaluation harness's `hf` model (float32, CPU) over cases and keeps results and samples.

    run_reference.py --model FOLDER --include-path TASKS --output FOLDER --cases cases.json [--only NAME,...] [--peft ADAPTER] [--defaults]

Two choices make it exact, and --defaults leaves them out: the harness's `softmax_dtype=float64` (PyTorch's log-softmax in f32 is off by 1.5e-5 a
token over a vocabulary of 49 thousand, and it adds in the same type), and the folder's tokenizer.json as it is (transformers 5 makes a tokenizer of
the class GPT2Tokenizer anew from vocabulary and merges, and loses how text is split).

A case of cases.json is an object: `name`, `tasks` (list), and any of `limit`, `num_fewshot`, `apply_chat_template`, `fewshot_as_multiturn`,
`system_instruction`, `gen_kwargs`, `bootstrap_iters`, `models` (names of model folders that it is for). OUTPUT/CASE/ receives results.json, one
samples_TASK.jsonl a task, and command.json with the case, the versions, the seconds and the same run as command lines of both sides. A case whose
results.json exists is skipped. The model is loaded once; each case is otherwise what `lm_eval run` does with the same options.
"""
import argparse
import json
import os
import shlex
import sys
import time

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TQDM_DISABLE="1")

from importlib.metadata import version
from importlib.util import find_spec

import numpy
import torch

# The harness's own preprocessors, named as its task files name them.
TASKS = os.path.join(os.path.dirname(find_spec("lm_eval").origin), "tasks")
sys.path += [os.path.join(TASKS, name) for name in ("winogrande", "wikitext")]

from lm_eval.evaluator import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import PreTrainedTokenizerFast


def plain(value):
    """What json cannot write, as what it means."""
    if isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, (tuple, set)):
        return list(value)
    return str(value)


def command_lines(case, options):
    shared = ["--tasks", ",".join(case["tasks"])]
    if case.get("num_fewshot") is not None:
        shared += ["--num_fewshot", str(case["num_fewshot"])]
    if case.get("limit") is not None:
        shared += ["--limit", str(case["limit"])]
    if case.get("apply_chat_template"):
        shared += ["--apply_chat_template"]
    if case.get("fewshot_as_multiturn") is not None:
        shared += ["--fewshot_as_multiturn", str(case["fewshot_as_multiturn"]).lower()]
    if case.get("system_instruction"):
        shared += ["--system_instruction", case["system_instruction"]]
    if case.get("gen_kwargs"):
        shared += ["--gen_kwargs", ",".join(f"{k}={v}" for k, v in case["gen_kwargs"].items())]
    path = ["--include_path", options.include_path]
    exact = "" if options.defaults else ",softmax_dtype=float64"
    model = f"pretrained={options.model},dtype=float32{exact}" + (f",peft={options.peft}" if options.peft else "")
    theirs = ["lm_eval", "run", "--model", "hf", "--model_args", model, "--device", "cpu", *path, *shared, "--log_samples", "--output_path", "OUT"]
    ours = ["lora-moe", "eval", "--model", options.model, *(["--adapter", options.peft] if options.peft else []),
            *(part.replace("_", "-") if part.startswith("--") else part for part in path + shared), "--output", "OUT"]
    return {"lm_eval": shlex.join(theirs), "lora-moe": shlex.join(ours)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--peft")
    parser.add_argument("--include-path", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--cases", required=True)
    parser.add_argument("--only", help="names of cases, comma separated")
    parser.add_argument("--batch-size", default="1")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--defaults", action="store_true", help="log-softmax in f32, and the tokenizer as transformers makes it")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with open(options.cases, encoding="utf-8") as file:
        cases = json.load(file)
    folder = os.path.basename(os.path.normpath(options.model))
    wanted = set(options.only.split(",")) if options.only else None
    cases = [c for c in cases if (not wanted or c["name"] in wanted) and folder in c.get("models", [folder])]
    arguments = {"peft": options.peft} if options.peft else {}
    if not options.defaults:
        arguments.update(softmax_dtype="float64", tokenizer=PreTrainedTokenizerFast.from_pretrained(options.model))
    model = HFLM(pretrained=options.model, dtype="float32", device="cpu", batch_size=options.batch_size, **arguments)
    tasks = TaskManager(include_path=options.include_path)
    failed = []
    for case in cases:
        out = os.path.join(options.output, case["name"])
        if os.path.exists(f"{out}/results.json"):
            print(f"{out}: there", file=sys.stderr)
            continue
        chat = case.get("apply_chat_template", False)
        multiturn = case.get("fewshot_as_multiturn")
        start = time.time()
        try:
            results = simple_evaluate(
                model, tasks=case["tasks"], task_manager=tasks, num_fewshot=case.get("num_fewshot"), limit=case.get("limit"),
                apply_chat_template=chat, fewshot_as_multiturn=bool(chat) if multiturn is None else multiturn,
                system_instruction=case.get("system_instruction"), gen_kwargs=case.get("gen_kwargs"), log_samples=True,
                bootstrap_iters=case.get("bootstrap_iters", 100000))
        except (AssertionError, ValueError) as error:       # such as an answer longer than the model's context
            failed.append(case["name"])
            print(f"{out}: the harness refuses: {type(error).__name__} {error}", file=sys.stderr, flush=True)
            continue
        seconds = time.time() - start
        os.makedirs(out, exist_ok=True)
        for task, samples in results.pop("samples").items():
            with open(f"{out}/samples_{task}.jsonl", "w", encoding="utf-8") as file:
                file.writelines(json.dumps(sample, ensure_ascii=False, default=plain) + "\n" for sample in samples)
        used = {name: version(name) for name in ("lm_eval", "torch", "transformers", "tokenizers", "datasets", "peft")}
        with open(f"{out}/command.json", "w", encoding="utf-8") as file:
            json.dump({"case": case, "seconds": round(seconds, 1), "threads": options.threads, "batch_size": options.batch_size,
                       "versions": used, "command": command_lines(case, options)}, file, indent=1)
        with open(f"{out}/results.json", "w", encoding="utf-8") as file:     # last: its presence says that the case is whole
            json.dump({key: results[key] for key in ("results", "groups", "configs", "n-shot", "n-samples", "versions") if key in results},
                      file, indent=1, default=plain, ensure_ascii=False)
        print(f"{out}: {seconds:.0f} s", file=sys.stderr, flush=True)
    sys.exit(f"refused: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
