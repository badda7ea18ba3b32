#!/usr/bin/env python3
"""Compares an evaluation of the LM evaluation harness with ours, sample by sample: compare.py REFERENCE OURS [--model FOLDER] [--markdown FILE]

Both are folders with results.json and samples_TASK.jsonl, or folders of such folders (cases; those that both sides have are compared). What is asked:
the same prompts; log-likelihoods within 1e-3 (for rolling sums of thousands of tokens, 1e-6 of the sum if that is more); the same answer but for ties;
the same aggregates and standard errors to 4 digits; the same text on at least 95 % of generations, and where it differs a gap between the two best
logits below 1e-4 at the first differing token (measured with --model, in transformers). Prints a Markdown table, then every difference. Exit status 1
where something asked is not met.
"""
import argparse
import glob
import json
import os
import sys

LIMIT, SUM_LIMIT, GAP_LIMIT, TEXT_SHARE = 1e-3, 1e-6, 1e-4, 0.95


def load(folder, task):
    path = os.path.join(folder, f"samples_{task}.jsonl")
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return {(sample["filter"], sample["doc_id"]): sample for sample in map(json.loads, file)}


def responses(sample):
    """The first response to each request: [log-likelihood, greedy], a sum, or a text."""
    return [r[0] if isinstance(r, list) and len(r) > 0 and not isinstance(r[0], (int, float)) else (r if len(r) == 2 else r[0]) if isinstance(r, list) else r
            for r in sample["resps"]]


def prompts(sample):
    """The requests' texts; generation options are compared by what they lead to."""
    return [[part for part in argument if isinstance(part, str)] for argument in sample["arguments"]]


def digits(a, b):
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return a == b
    return f"{a:.4f}" == f"{b:.4f}" or abs(a - b) <= 5e-5 * max(1.0, abs(a))


class Gap:
    """The difference of the two best logits where a greedy generation in transformers leaves a given text."""

    def __init__(self, folder):
        import torch
        import transformers
        self.torch = torch
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32")

    def __call__(self, context, options, text):
        length = options.get("max_gen_toks", 256)
        bos = self.tokenizer.bos_token
        ids = self.tokenizer.encode(context, add_special_tokens=not (bos and context.startswith(bos)))
        ids = ids[-(self.model.config.max_position_embeddings - length):]
        start, cache, step = len(ids), None, self.torch.tensor([ids])
        with self.torch.no_grad():
            for _ in range(length):
                out = self.model(step, past_key_values=cache, use_cache=True)
                cache, logits = out.past_key_values, out.logits[0, -1]
                best = logits.topk(2)
                token = best.indices[0].item()
                ids.append(token)
                if not text.startswith(self.tokenizer.decode(ids[start:], skip_special_tokens=True).rstrip("\ufffd")):
                    return (best.values[0] - best.values[1]).item()
                step = self.torch.tensor([[token]])
        return float("nan")     # no token leaves the text: it differs by where it was cut


def compare(case, task, reference, ours, results, notes, gap):
    """One row of the table, and the notes of what differs."""
    theirs, mine = load(reference, task), load(ours, task)
    row = {"case": case, "task": task, "samples": len(theirs), "prompts": "", "delta": "", "answer": "", "text": "", "aggregates": "", "value": "", "ok": True}

    def fail(text):
        row["ok"] = False
        notes.append(f"{case} {task}: {text}")

    if mine is None:
        fail("no samples of ours")
        return row
    if set(theirs) != set(mine):
        fail(f"samples only in the reference: {sorted(set(theirs) - set(mine))[:5]}, only in ours: {sorted(set(mine) - set(theirs))[:5]}")
    shared = [key for key in theirs if key in mine]
    same, worst, answers, answered, ties, texts, generated, chance = 0, 0.0, 0, 0, 0, 0, 0, 0.0
    for key in shared:
        a, b = theirs[key], mine[key]
        equal = prompts(a) == prompts(b)
        same += equal
        if not equal and same + 3 > shared.index(key):
            fail(f"document {key[1]}: prompts differ: {json.dumps(prompts(a)[0])[-300:]} | {json.dumps(prompts(b)[0])[-300:]}")
        left, right = responses(a), responses(b)
        scores, agrees, tie = [], True, False
        if len(left) != len(right):
            fail(f"document {key[1]}: {len(left)} requests against {len(right)}")
            continue
        for x, y in zip(left, right):
            if isinstance(x, str):
                generated, texts = generated + 1, texts + (x == y)
                if x != y:
                    g = gap(a["arguments"][0][0], a["arguments"][0][1], y) if gap else None
                    message = f"document {key[1]} ({key[0]}): texts differ, logit gap {'not measured' if g is None else f'{g:.1e}'}: {x[:120]!r} | {y[:120]!r}"
                    if g is None or g < GAP_LIMIT:
                        notes.append(f"{case} {task}: {message}")
                    else:
                        fail(message)
                continue
            rolling = not isinstance(x, list)
            u, v = (x, y if not isinstance(y, list) else y[0]) if rolling else (x[0], y[0])
            worst = max(worst, abs(u - v))
            if not abs(u - v) <= max(LIMIT, SUM_LIMIT * abs(u) if rolling else 0.0):
                fail(f"document {key[1]}: log-likelihood {u} against {v}")
            if not rolling:
                scores.append((u, v))
                if bool(x[1]) != bool(y[1]):
                    notes.append(f"{case} {task}: document {key[1]}: greedy {x[1]} against {y[1]}")
        if len(scores) > 1:
            answered, chance = answered + 1, chance + 1 / len(scores)
            first = max(range(len(scores)), key=lambda i: scores[i][0])
            second = max(range(len(scores)), key=lambda i: scores[i][1])
            agrees = first == second
            tie = not agrees and scores[first][0] - scores[second][0] <= 2 * LIMIT
            answers, ties = answers + agrees, ties + tie
            if not agrees:
                (notes.append if tie else fail)((f"{case} {task}: " if tie else "") + f"document {key[1]}: answer {first} against {second}, "
                                                f"{'a tie within' if tie else 'apart by'} {scores[first][0] - scores[second][0]:.1e}")
        for name in a["metrics"]:
            if name not in b:
                fail(f"document {key[1]}: ours has no {name}")
            elif isinstance(a[name], (int, float)) and not digits(a[name], b[name]) and left == right:
                fail(f"document {key[1]} ({key[0]}): {name} {a[name]} against {b[name]}, from the same responses")
    row["prompts"] = f"{same}/{len(shared)}"
    row["delta"] = f"{worst:.1e}" if not generated else ""
    row["answer"] = f"{answers}/{answered}" + (f" ({ties} ties)" if ties else "") if answered else ""
    row["text"] = f"{texts}/{generated}" if generated else ""
    if generated and texts < TEXT_SHARE * generated:
        fail(f"only {texts} of {generated} texts are the same")
    values(case, task, results, row, fail, chance / answered if answered else None)
    return row


def values(case, task, results, row, fail, chance=None):
    theirs, mine = (side.get("results", {}).get(task, {}) for side in results)
    keys = [key for key in theirs if "," in key]
    good = [key for key in keys if key in mine and digits(theirs[key], mine[key])]
    for key in keys:
        if key not in good:
            fail(f"{key}: {theirs[key]} against {mine.get(key)}")
    row["aggregates"] = f"{len(good)}/{len(keys)}"
    shown = next((key for key in keys if "_stderr" not in key), None)
    if shown:
        error = theirs.get(shown.replace(",", "_stderr,", 1))
        row["value"] = f"{shown.split(',')[0]} {theirs[shown]:.4f}" + (f" ± {error:.4f}" if isinstance(error, float) else "")
        if chance and shown.startswith("acc") and isinstance(error, float) and abs(theirs[shown] - chance) <= 2 * error:
            row["value"] += f" (chance level, {chance:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference")
    parser.add_argument("ours")
    parser.add_argument("--model", help="model folder, to measure the logit gap of texts that differ")
    parser.add_argument("--markdown", help="write the table there as well")
    parser.add_argument("--fold", help="show tasks whose name starts with this as one row, such as local_mmlu_", default="local_mmlu_")
    options = parser.parse_args()
    gap = Gap(options.model) if options.model else None
    if os.path.exists(f"{options.reference}/results.json"):
        cases = [("", options.reference, options.ours)]
    else:
        names = sorted(os.path.basename(os.path.dirname(p)) for p in glob.glob(f"{options.reference}/*/results.json"))
        cases = [(n, f"{options.reference}/{n}", f"{options.ours}/{n}") for n in names if os.path.exists(f"{options.ours}/{n}/results.json")]
        for n in names:
            if not os.path.exists(f"{options.ours}/{n}/results.json"):
                print(f"{n}: no run of ours", file=sys.stderr)
    rows, notes = [], []
    for case, reference, ours in cases:
        results = [json.load(open(f"{side}/results.json", encoding="utf-8")) for side in (reference, ours)]
        for task in results[0]["results"]:
            if os.path.exists(f"{reference}/samples_{task}.jsonl"):
                rows.append(compare(case, task, reference, ours, results, notes, gap))
            else:       # a group: it has values and no samples of its own
                row = {"case": case, "task": task, "samples": "", "prompts": "", "delta": "", "answer": "", "text": "", "value": "", "ok": True}
                values(case, task, results, row, lambda text, row=row, task=task, case=case: (row.update(ok=False), notes.append(f"{case} {task}: {text}")))
                rows.append(row)
    head = ["case", "task", "samples", "same prompts", "largest Δ log-likelihood", "same answer", "same text", "same aggregates and errors", "value (harness)", ""]
    table = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    folded = {}
    for row in rows:
        if options.fold and row["task"].startswith(options.fold) and row["samples"] != "":
            folded.setdefault(row["case"], []).append(row)
            continue
        table.append(line(row))
    for case, members in folded.items():
        add = lambda key: "/".join(str(sum(int(m[key].split()[0].split("/")[i]) for m in members if m[key])) for i in (0, 1))
        table.append(line({"case": case, "task": f"{options.fold}* ({len(members)} tasks)", "samples": sum(m["samples"] for m in members), "prompts": add("prompts"),
                           "delta": f"{max(float(m['delta'] or 0) for m in members):.1e}", "answer": add("answer"), "text": "", "aggregates": add("aggregates"),
                           "value": "", "ok": all(m["ok"] for m in members)}))
    text = "\n".join(table) + "\n"
    print(text + "".join(f"\n- {note}" for note in notes[:200]) + (f"\n- and {len(notes) - 200} more" if len(notes) > 200 else ""))
    if options.markdown:
        with open(options.markdown, "w", encoding="utf-8") as file:
            file.write(text)
    bad = [row for row in rows if not row["ok"]]
    print(f"\n{len(rows) - len(bad)} of {len(rows)} rows as asked")
    sys.exit(bool(bad) or not rows)


def line(row):
    keys = ["case", "task", "samples", "prompts", "delta", "answer", "text", "aggregates", "value"]
    return "| " + " | ".join(str(row[key]) for key in keys) + f" | {'' if row['ok'] else '**differs**'} |"


if __name__ == "__main__":
    main()
