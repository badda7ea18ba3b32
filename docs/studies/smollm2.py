"""The rows of the study on SmolLM2: smollm2.py DATASETS OUTPUT, then `lora-moe study --config` on OUTPUT/smollm2.toml.

DATASETS holds public files: ARC-Easy, OpenBookQA, PIQA, WinoGrande and WikiText-2 with the hub's columns
(`hub_layout/arc_easy.train.jsonl` and so on), the 1,100 instructions of rasbt/LLMs-from-scratch
(`instruction_1100/instruction-data.json`) and 150 questions of TriviaQA (`triviaqa_small/triviaqa.json`).
"""
import json
import random
import sys
from pathlib import Path

datasets, output = (Path(argument).resolve() for argument in sys.argv[1:3])
output.mkdir(parents=True, exist_ok=True)
chosen = random.Random(0)


def write(name, records):
    (output / name).write_text("".join(json.dumps(record) + "\n" for record in records))


def asked(question):
    """As the evaluation harness asks ARC's questions."""
    return f"Question: {question}\nAnswer:"


def arc(split):
    for line in (datasets / f"hub_layout/arc_easy.{split}.jsonl").read_text().splitlines():
        row = json.loads(line)
        right = row["choices"]["label"].index(row["answerKey"])
        yield {"prompt": asked(row["question"]), "completion": " " + row["choices"]["text"][right]}


write("arc_train.jsonl", arc("train"))
write("arc_validation.jsonl", chosen.sample(list(arc("validation")), 60))

instructions = json.loads((datasets / "instruction_1100/instruction-data.json").read_text())
chosen.shuffle(instructions)
write("instructions_train.jsonl", instructions[100:])
write("instructions_validation.jsonl", instructions[:60])

# Behind three that are answered, so that the untuned model knows what an answer is.
trivia = json.loads((datasets / "triviaqa_small/triviaqa.json").read_text())
shots = "".join(f"{asked(row['question'])} {row['gold_answer']}\n\n" for row in trivia[:3])
write(
    "triviaqa.jsonl",
    ({"prompt": shots + asked(row["question"]), "completion": " " + row["gold_answer"]} for row in trivia[3:63]),
)

(output / "wikitext2.txt").write_text((datasets / "hub_layout/wikitext2.test.txt").read_text()[:8000])
recipe = Path(__file__).with_suffix(".toml").read_text()
(output / "smollm2.toml").write_text(recipe.replace("hub_layout", str(datasets / "hub_layout")))
