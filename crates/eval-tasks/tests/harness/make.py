"""Runs the LM evaluation harness (0.4.13) over the tasks of this folder and writes golden.json:
every request, answers that stand for a model's, and what the harness makes of them.

    python make.py        # in this folder, with lm_eval installed
"""
import json
from collections import defaultdict

from lm_eval.evaluator_utils import ResultAcc, _compute_task_aggregations, _process_results
from lm_eval.tasks import TaskManager

# Of the bootstrap; groups have no bootstrapped metric, but two are the least for any error.
ITERATIONS, ITERATIONS_OF_GROUPS = 1000, 2
RUNS = [
    {"task": "h_science"},
    {"task": "h_science", "num_fewshot": 3},
    {"task": "h_science", "num_fewshot": 2, "chat": True, "multiturn": True, "system": "Be brief."},
    {"task": "h_science_letters", "num_fewshot": 2},
    {"task": "h_science_letters", "num_fewshot": 2, "chat": True, "multiturn": True},
    {"task": "h_science_letters", "num_fewshot": 2, "chat": True, "multiturn": False, "system": "S"},
    {"task": "h_blanks"},
    {"task": "h_blanks", "num_fewshot": 3},
    {"task": "h_blanks", "num_fewshot": 1, "chat": True, "multiturn": True},
    {"task": "h_sums"},
    {"task": "h_sums", "num_fewshot": 6, "limit": 4, "chat": True, "multiturn": False},
    {"task": "h_sums_voted"},
    {"task": "h_quiz", "num_fewshot": 4, "system": "Be right."},
    {"task": "h_facts", "num_fewshot": 5},
    {"task": "h_samples", "num_fewshot": 2},
    {"task": "h_last"},
    {"task": "h_pages"},
    {"task": "h_several"},
    {"group": "h_group"},
    {"group": "h_group_plain", "num_fewshot": 0},
]


def chat_template(messages, add_generation_prompt=True):
    text = "".join(f"<{m['role']}>{m['content']}</{m['role']}>" for m in messages)
    if add_generation_prompt:
        return text + "<assistant>"
    return text.removesuffix("</assistant>")


def answer(instance, repeat):
    """Stands for a model's answer; any fixed function of the request will do."""
    number = instance.doc_id * 7 + instance.idx * 13 + len(str(instance.arguments[0])) + repeat * 5
    if instance.request_type == "loglikelihood":
        return (-(number % 23) - 0.25 * instance.idx - 0.125, number % 3 == 0)
    if instance.request_type == "loglikelihood_rolling":
        return -10.5 - number % 17
    i = instance.doc_id
    return [
        f" He has #### {3 * i + 1:,}.", f" Then {3 * i + 1} it is, $5.", " none", f"\n#### {number}",
        f" THE {['river', 'lamp', 'bridge'][number % 3]}smiths ", f" So 7, or {i}",
    ][(number + repeat) % 6]


def prepare(task, run):
    shots = run.get("num_fewshot")
    if shots is not None and task.get_config("num_fewshot") != 0:
        task.set_config(key="num_fewshot", value=shots)
    elif task.get_config("num_fewshot") is None:
        task.set_config(key="num_fewshot", value=0)
    task.set_fewshot_seed(seed=1234)
    task.build_all_requests(
        limit=run.get("limit"),
        system_instruction=run.get("system"),
        apply_chat_template=run.get("chat", False),
        fewshot_as_multiturn=run.get("multiturn", False),
        chat_template=chat_template if run.get("chat") else None,
        tokenizer_name="",
    )
    for instance in task.instances:
        instance.resps = [answer(instance, repeat) for repeat in range(instance.repeats)]
    task.apply_filters()


def evaluate(task):
    by_document = defaultdict(list)
    for instance in task.instances:
        by_document[instance.doc_id].append(instance)
    raw, samples = defaultdict(list), []
    for filter_key in task.instances[0].filtered_resps:
        for doc_id, instances in by_document.items():
            instances.sort(key=lambda instance: instance.idx)
            filtered = [instance.filtered_resps[filter_key] for instance in instances]
            metrics = task.process_results(instances[0].doc, filtered)
            for metric, value in metrics.items():
                raw[(metric, filter_key)].append(value)
            samples.append({
                "doc_id": doc_id, "filter": filter_key, "target": task.doc_to_target(instances[0].doc),
                "filtered": filtered, "metrics": metrics,
            })
    return raw, samples


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.item() if hasattr(value, "item") else value


def main():
    runs = []
    # A manager for each run, because tasks keep the state of their generators.
    for run in RUNS:
        loaded = TaskManager(include_path="tasks", include_defaults=False).load([run.get("task") or run["group"]])
        tasks, accumulated = {}, {}
        iterations = ITERATIONS_OF_GROUPS if "group" in run else ITERATIONS
        for name, task in loaded["tasks"].items():
            prepare(task, run)
            raw, samples = evaluate(task)
            accumulated[name] = ResultAcc(task=task, raw_metrics=raw, logged_samples=[])
            results, _ = _compute_task_aggregations(task, raw, iterations)
            tasks[name] = {
                "instances": [
                    {"doc_id": i.doc_id, "idx": i.idx, "type": i.request_type,
                     "arguments": plain(i.arguments), "resps": plain(i.resps)}
                    for i in task.instances
                ],
                "samples": plain(samples), "results": plain(results),
            }
        entry = {**run, "iterations": iterations, "tasks": tasks}
        if "group" in run:
            every = _process_results(accumulated, loaded["groups"], iterations)
            entry["groups"] = {name: plain(every.metrics[name]) for name in loaded["groups"]}
            for task in tasks.values():
                task["samples"] = []
        runs.append(entry)
    with open("golden.json", "w") as file:
        json.dump({"runs": runs}, file, ensure_ascii=False, indent=0)


if __name__ == "__main__":
    main()
