"""Encoders trained by `lora-moe train` and by PyTorch, from the same weights by the same recipe.

    python docs/parity/encoders.py LORA_MOE WORK [--optdigits FOLDER] [--cola FOLDER] [--mrpc FOLDER] [--seeds 5]

LORA_MOE is the command, WORK a folder for models and runs. FOLDER holds `optdigits.tra` and `optdigits.tes` (UCI),
`in_domain_train.tsv` and `in_domain_dev.tsv` (CoLA), or `msr_paraphrase_train.txt` and `msr_paraphrase_test.txt` (MRPC). For
each seed transformers draws a small model, from which both sides start; AdamW, schedule, clipping, batch size and the
number of epochs are the same, the order of the data, the dropout and the start of LoRA's A each side's own. With the
whole data set as one batch there is no order, and the losses of steps are compared themselves. Prints the table of the book's page on
encoders: means over seeds with 95 % intervals (Student's t), and of the differences of the pairs.
"""

import argparse
import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy
import torch
import transformers as t
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers, processors

# Student's t of a two-sided 95 % interval, by degrees of freedom.
QUANTILES = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
LORA = dict(r=8, lora_alpha=16)


def digits(folder):
    """Rows of pixels with their labels, to train on and to test on."""
    parts = []
    for name in ["optdigits.tra", "optdigits.tes"]:
        rows = [line.split(",") for line in (folder / name).read_text().splitlines()[1:]]
        values = torch.tensor([[float(value) for value in row] for row in rows])
        parts.append((values[:, :64].reshape(-1, 1, 8, 8), values[:, 64].long()))
    return parts


def sentences(path, columns, header):
    lines = path.read_text(encoding="utf-8-sig").splitlines()[1 if header else 0 :]
    rows = [line.split("\t") for line in lines]
    label, *texts = columns
    return [[row[at] for at in texts] for row in rows], torch.tensor([int(row[label]) for row in rows])


def word_tokenizer(texts):
    """A tokenizer of the words that occur at least twice, which joins pairs as RoBERTa's does."""
    split = pre_tokenizers.BertPreTokenizer()
    counts = {}
    for text in (text for row in texts for text in row):
        for word, _ in split.pre_tokenize_str(text):
            counts[word] = counts.get(word, 0) + 1
    words = sorted(word for word, count in counts.items() if count > 1)
    vocabulary = {word: at for at, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


class Case:
    """A data set, a model, and how it is trained."""

    def __init__(self, name, recipe, adapter, metrics):
        self.name, self.recipe, self.adapter, self.metrics = name, recipe, adapter, metrics

    def adapter_of(self):
        if self.adapter == "lora":
            keys = "\n".join(f"{key} = {value}" for key, value in LORA.items())
            return f'preset = "lora"\ntarget_modules = "all-linear"\n{keys}\nlora_dropout = 0.0'
        return f'preset = "full"\nmodules_to_save = "({self.root}|classifier).*"'


class Digits(Case):
    root = "vit"

    def __init__(self, name, recipe, adapter, folder):
        super().__init__(name, recipe, adapter, ["accuracy"])
        self.folder, (self.train, self.test) = folder, digits(folder)

    def model(self, folder):
        names = [str(digit) for digit in range(10)]
        config = t.ViTConfig(
            hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, image_size=8,
            patch_size=2, num_channels=1, id2label=dict(enumerate(names)), label2id={n: i for i, n in enumerate(names)},
        )
        t.ViTForImageClassification(config).save_pretrained(folder)
        processor = dict(
            image_processor_type="ViTImageProcessor", do_resize=False, do_rescale=True, rescale_factor=1 / 16,
            do_normalize=True, image_mean=[0.5], image_std=[0.5],
        )
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
        return t.ViTForImageClassification.from_pretrained(folder)

    def data(self):
        columns = 'format = "csv", columns = { pixels = "Block *", label = "Class" }'
        files = [f'[{{ path = "{self.folder / name}", {columns} }}]' for name in ["optdigits.tra", "optdigits.tes"]]
        return f'task = "image_classification"\ntrain = {files[0]}\nvalidation = {files[1]}'

    def batch(self, part, rows):
        images, labels = part
        return dict(pixel_values=(images[rows] / 16 - 0.5) / 0.5), labels[rows]


class Texts(Case):
    root = "roberta"

    def __init__(self, name, recipe, adapter, folder, files, columns, header, form):
        super().__init__(name, recipe, adapter, ["accuracy", "f1", "matthews_correlation"])
        self.folder, self.files, self.form = folder, files, form
        parts = [sentences(folder / file, columns, header) for file in files]
        self.tokenizer = word_tokenizer(parts[0][0])
        self.tokenizer.enable_truncation(64)
        self.train, self.test = [([self.encode(row) for row in rows], labels) for rows, labels in parts]
        self.tokenizer.no_truncation()

    def encode(self, row):
        return self.tokenizer.encode(*row).ids

    def model(self, folder):
        config = t.RobertaConfig(
            vocab_size=self.tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=66, type_vocab_size=1, pad_token_id=1, bos_token_id=0,
            eos_token_id=2, layer_norm_eps=1e-5, id2label={0: "no", 1: "yes"}, label2id={"no": 0, "yes": 1},
        )
        t.RobertaForSequenceClassification(config).save_pretrained(folder)
        self.tokenizer.save(str(folder / "tokenizer.json"))
        return t.RobertaForSequenceClassification.from_pretrained(folder)

    def data(self):
        files = [f'[{{ path = "{self.folder / file}", {self.form} }}]' for file in self.files]
        labels = 'labels = ["no", "yes"]'
        return f'task = "sequence_classification"\n{labels}\ntrain = {files[0]}\nvalidation = {files[1]}'

    def batch(self, part, rows):
        encoded, labels = part
        chosen = [encoded[row] for row in rows]
        longest = max(map(len, chosen))
        ids = torch.tensor([ids + [1] * (longest - len(ids)) for ids in chosen])
        return dict(input_ids=ids, attention_mask=(ids != 1).long()), labels[rows]


def ours(case, seed, command, work, recipe):
    """The lines of metrics of a run."""
    recipe = "\n".join(f"{key} = {json.dumps(value)}" for key, value in recipe.items())
    run = work / "run"
    text = (
        f'[model]\npath = "{work / "model"}"\nnew_head = false\n[adapter]\n{case.adapter_of()}\n[data]\n{case.data()}\n'
        f'[training]\noutput_dir = "{run}"\nseed = {seed}\ngroup_by_length = false\n'
        f"per_device_eval_batch_size = 64\n{recipe}\n"
    )
    (work / "run.toml").write_text(text)
    subprocess.run([command, "train", "--config", str(work / "run.toml")], check=True, capture_output=True)
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def trained_by_us(case, seed, command, work):
    lines = ours(case, seed, command, work, dict(case.recipe, logging_steps=1000))
    found = [line for line in lines if "eval_loss" in line][-1]
    return {name: found[f"eval_{name}"] for name in ["loss", *case.metrics]}


def same_steps(case, command, work):
    """The largest relative difference of the losses of steps whose batch is the whole data set."""
    shutil.rmtree(work, ignore_errors=True)
    (work / "model").mkdir(parents=True)
    torch.manual_seed(0)
    model, count, steps, rate = case.model(work / "model"), len(case.train[1]), 12, 1e-3
    recipe = dict(
        learning_rate=rate, lr_scheduler_type="constant", max_steps=steps, per_device_train_batch_size=count, logging_steps=1
    )
    one = [line["loss"] for line in ours(case, 0, command, work, recipe) if "loss" in line]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    inputs, labels = case.batch(case.train, torch.arange(count))
    other = []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(model(**inputs).logits, labels)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        other.append(loss.item())
    return max(abs(a - b) / b for a, b in zip(one, other))


def trained_by_them(case, seed, model):
    torch.manual_seed(1000 + seed)
    if case.adapter == "lora":
        linears = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        targets = [name for name in linears if not name.startswith("classifier")]
        model = get_peft_model(model, LoraConfig(target_modules=targets, modules_to_save=["classifier"], **LORA))
    recipe, count = case.recipe, len(case.train[1])
    size = recipe["per_device_train_batch_size"]
    steps = math.ceil(count / size) * recipe["num_train_epochs"]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=recipe["learning_rate"], weight_decay=0.0)
    warmup = math.ceil(0.03 * steps)
    schedule = t.get_cosine_schedule_with_warmup(optimizer, warmup, steps)
    model.train()
    for _ in range(recipe["num_train_epochs"]):
        for rows in torch.randperm(count).split(size):
            inputs, labels = case.batch(case.train, rows)
            torch.nn.functional.cross_entropy(model(**inputs).logits, labels).backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()
    with torch.no_grad():
        parts = torch.arange(len(case.test[1])).split(64)
        logits = torch.cat([model(**case.batch(case.test, rows)[0]).logits for rows in parts])
    return measured(case, logits, case.test[1])


def measured(case, logits, gold):
    answers = logits.argmax(1)
    found = dict(
        loss=float(torch.nn.functional.cross_entropy(logits, gold)), accuracy=float((answers == gold).double().mean())
    )
    if "f1" in case.metrics:
        counts = [[int(((gold == g) & (answers == a)).sum()) for a in (0, 1)] for g in (0, 1)]
        (tn, fp), (fn, tp) = counts
        found["f1"] = 2 * tp / max(2 * tp + fp + fn, 1)
        product = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
        found["matthews_correlation"] = (tp * tn - fp * fn) / math.sqrt(product) if product else 0.0
    return found


def pair(case, seed, command, work):
    """What both sides measure of a seed; once, though the script is interrupted."""
    result = work / "result.json"
    if result.exists():
        return json.loads(result.read_text())
    shutil.rmtree(work, ignore_errors=True)
    (work / "model").mkdir(parents=True)
    torch.manual_seed(seed)
    model = case.model(work / "model")
    found = [trained_by_us(case, seed, command, work), trained_by_them(case, seed, model)]
    result.write_text(json.dumps(found))
    return found


def interval(values):
    values = numpy.array(values)
    half = QUANTILES[len(values) - 1] * values.std(ddof=1) / math.sqrt(len(values))
    return f"{values.mean():.4f} ± {half:.4f}", abs(values.mean()) <= half


def cases(arguments):
    def recipe(rate, epochs):
        return dict(learning_rate=rate, num_train_epochs=epochs, per_device_train_batch_size=32)

    if arguments.optdigits:
        yield Digits("ViT on optdigits, all weights", recipe(1e-3, 10), "full", arguments.optdigits)
        yield Digits("ViT on optdigits, LoRA and head", recipe(3e-3, 10), "lora", arguments.optdigits)
    if arguments.cola:
        files = ["in_domain_train.tsv", "in_domain_dev.tsv"]
        form = 'quoting = false, column_names = ["source", "label", "mark", "sentence"]'
        yield Texts("RoBERTa on CoLA, all weights", recipe(2e-3, 3), "full", arguments.cola, files, [1, 3], False, form)
    if arguments.mrpc:
        files = ["msr_paraphrase_train.txt", "msr_paraphrase_test.txt"]
        names = '{ text = "#1 String", text_pair = "#2 String", label = "Quality" }'
        form = f'format = "tsv", quoting = false, columns = {names}'
        yield Texts("RoBERTa on MRPC, all weights", recipe(2e-3, 3), "full", arguments.mrpc, files, [0, 3, 4], True, form)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command")
    parser.add_argument("work", type=Path)
    for name in ["optdigits", "cola", "mrpc"]:
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    # More threads are slower on models of this size.
    torch.set_num_threads(1)
    print("| model and data | measured | lora-moe | PyTorch | difference | within its interval |\n|---|---|---|---|---|---|")
    for case in cases(arguments):
        if isinstance(case, Digits) and case.adapter == "full":
            error = same_steps(case, arguments.command, arguments.work / "steps")
            print(f"{case.name}: losses of 12 steps on the whole set are equal to {error:.1e}", flush=True)
        pairs = []
        for seed in range(arguments.seeds):
            work = arguments.work / case.name.replace(" ", "_").replace(",", "") / str(seed)
            pairs.append(pair(case, seed, arguments.command, work))
            print(f"{case.name}, seed {seed}: {pairs[-1]}", flush=True)
        for name in ["loss", *case.metrics]:
            columns = [[pair[side][name] for pair in pairs] for side in (0, 1)]
            both = [interval(values)[0] for values in columns]
            difference, within = interval([a - b for a, b in zip(*columns)])
            answer = "yes" if within else "no"
            print(f"| {case.name} | {name} | {both[0]} | {both[1]} | {difference} | {answer} |")


main()
