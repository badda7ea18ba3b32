#!/usr/bin/env python3
"""Compares lora-moe with transformers and peft, both ways, on small models with random weights.

    pip install torch transformers peft
    cargo build --bin lora-moe
    python docs/parity/parity.py --command target/debug/lora-moe [models] [merge] [train] [peft]

models: folders that transformers wrote give the same results here.
merge:  folders that `lora-moe merge` wrote give the same results in transformers.
train:  adapters that `lora-moe train` made give the same logits in peft.
peft:   adapters that peft made give the same logits here.

Prints the largest difference of each case relative to the largest value, and fails above 1e-4.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
import transformers
from cases import ADAPTERS, IMAGE, LORA, MODELS, OLD_NAMES, TRAINED, VOCABULARY, randomise, tokenizer
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

TOLERANCE = 1e-4


class Parity:
    """Runs cases in a folder, and keeps their errors."""

    def __init__(self, command, folder):
        self.command = command
        self.folder = Path(folder)
        self.errors = []

    def lora_moe(self, *arguments):
        done = subprocess.run([self.command, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"lora-moe {' '.join(map(str, arguments))}: {done.stderr.strip()}")

    def ours(self, model, inputs, adapter=None):
        files = self.folder / "in.safetensors", self.folder / "out.safetensors"
        save_file({name: tensor.contiguous() for name, tensor in inputs.items()}, files[0])
        more = ["--adapter", adapter] if adapter else []
        self.lora_moe("logits", "--model", model, "--inputs", files[0], "--output", files[1], *more)
        return load_file(files[1])

    def check(self, part, case, compare):
        """Records the error of a case: `compare` gives what is here and what is there."""
        try:
            error = max(
                ((here[name] - there[name]).abs().max() / there[name].abs().max()).item()
                for here, there in compare()
                for name in here
            )
            passed, text = error <= TOLERANCE, f"{error:.1e}"
        except Exception as reason:  # the other cases still say something
            passed, text = False, f"{type(reason).__name__}: {reason}"
        self.errors.append(passed)
        print(f"{'ok  ' if passed else 'FAIL'} {part:7} {case:28} {text}", flush=True)


def theirs(model, inputs):
    """What a model of transformers or peft gives, under the names of `lora-moe logits`."""
    model.eval()
    with torch.no_grad():
        found = model(**inputs)
    names = ["logits", "image_embeds", "last_hidden_state"]
    return {name: found[name] for name in names if found.get(name) is not None}


def inputs_of(model):
    generator = torch.Generator().manual_seed(1)
    if hasattr(model.config, "image_size") or hasattr(model.config, "vision_config"):
        return {"pixel_values": torch.randn(2, 3, IMAGE, IMAGE, generator=generator)}
    ids = torch.randint(4, VOCABULARY, (2, 24), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def saved(parity, name):
    """A model of transformers and its folder."""
    torch.manual_seed(0)
    model, folder = MODELS[name](), parity.folder / name
    randomise(model)
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return model, folder


def with_peft(parity, base, folder, make):
    """An adapter that peft made on a model, which does something, and its folder."""
    torch.manual_seed(2)
    model = get_peft_model(base, make())
    randomise(model, only="lora_B")
    randomise(model, only="modules_to_save")
    randomise(model, only="trainable_tokens")
    adapter = parity.folder / f"{folder}-adapter"
    model.save_pretrained(adapter)
    if base.config.model_type in OLD_NAMES:
        rename(adapter, OLD_NAMES[base.config.model_type])
    return model, adapter


def rename(adapter, names):
    """Gives the modules of an adapter the names that checkpoints have."""
    for path in adapter.glob("adapter_*"):
        if path.suffix == ".json":
            text = path.read_text()
            for recent, old in names.items():
                text = text.replace(f'"{recent.split(".")[-1]}"', f'"{old}"')
            path.write_text(text)
        else:
            renamed = {}
            for name, tensor in load_file(path).items():
                for recent, old in names.items():
                    name = name.replace(f"{recent}.", f"{old}.")
                renamed[name] = tensor
            save_file(renamed, path)


def models(parity):
    for name in MODELS:
        model, folder = saved(parity, name)
        inputs = inputs_of(model)
        parity.check("models", name, lambda: [(parity.ours(folder, inputs), theirs(model, inputs))])


def merge(parity):
    for name in MODELS:
        model, folder = saved(parity, name)
        inputs, load = inputs_of(model), type(model).from_pretrained
        names = {path.split(".")[-1] for path, _ in model.named_modules()}
        targets = names & {"query", "q_proj", "qkv_proj", "up_proj", "gate_up_proj", "fc1"}
        if "experts" in names:  # peft adapts those as one parameter, or not at all
            targets = {"q_proj"}

        def compare():
            make = partial(LORA, target_modules=sorted(targets))
            adapted, adapter = with_peft(parity, model, name, make)
            merged = parity.folder / f"{name}-merged"
            parity.lora_moe("merge", "--model", folder, "--adapter", adapter, "--output", merged)
            expected = theirs(adapted, inputs)
            return [(theirs(load(merged), inputs), expected), (parity.ours(merged, inputs), expected)]

        parity.check("merge", name, compare)


def train(parity):
    data = parity.folder / "data.json"
    words = [f"w{i}" for i in range(40)]
    records = [{"prompt": f"{a} {b}", "completion": f" {b} {a}"} for a, b in zip(words, words[7:])]
    data.write_text(json.dumps(records))
    for name, (base, keys) in TRAINED.items():
        model, folder = saved(parity, base)
        inputs = inputs_of(model)
        run, config = parity.folder / f"run-{name}", parity.folder / "run.toml"
        config.write_text(
            f"[model]\npath = '{folder}'\n[adapter]\n{keys}\n[data]\ntrain = [{{ path = '{data}' }}]\n"
            f"[training]\noutput_dir = '{run}'\nmax_steps = 8\nlearning_rate = 1e-2\n"
        )

        def compare():
            parity.lora_moe("train", "--config", config)
            written = parity.folder / f"peft-{name}"
            parity.lora_moe("convert", "--adapter", run, "--to", "peft", "--output", written)
            base = type(model).from_pretrained(folder)
            before = theirs(base, inputs)["logits"]
            found = theirs(PeftModel.from_pretrained(base, written), inputs)
            assert (found["logits"] - before).abs().max() > 0.01, "the adapter does nothing"
            return [(parity.ours(folder, inputs, run), found)]

        parity.check("train", name, compare)


def peft(parity):
    for name, (base, make) in ADAPTERS.items():
        model, folder = saved(parity, base)
        inputs = inputs_of(model)

        def compare():
            before = theirs(model, inputs)["logits"]
            adapted, adapter = with_peft(parity, model, name, make)
            found = theirs(adapted, inputs)
            assert (found["logits"] - before).abs().max() > 0.01, "the adapter does nothing"
            return [(parity.ours(folder, inputs, adapter), found)]

        parity.check("peft", name, compare)


def main():
    parts = {"models": models, "merge": merge, "train": train, "peft": peft}
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--command", default="target/debug/lora-moe", help="the command lora-moe")
    arguments.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}")
    arguments = arguments.parse_args()
    unknown = set(arguments.parts) - parts.keys()
    if unknown:
        sys.exit(f"there is no part {', '.join(unknown)}; there are {', '.join(parts)}")
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        parity = Parity(arguments.command, folder)
        for name in arguments.parts or parts:
            parts[name](parity)
    print(f"{sum(parity.errors)} of {len(parity.errors)} cases within {TOLERANCE}")
    sys.exit(0 if parity.errors and all(parity.errors) else 1)


if __name__ == "__main__":
    main()
