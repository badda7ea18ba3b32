"""Training steps and generation by `lora-moe` and by PyTorch in turn on this machine, and the ratios.

    cargo build --release --bin lora-moe
    pip install torch transformers peft
    python benches/pytorch/compare.py --model path/to/smollm2 [--rounds 2] [--only train]

Ours holds the model as its files do, and multiplies in bfloat16 (`--precision bf16`) where it is compared with PyTorch in
bfloat16. Prints
a row of a Markdown table for each case: tokens per second of both over all rounds, the ratio of their medians, and
the peaks of resident memory in MiB.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
COMMAND = os.environ.get("LORA_MOE", os.path.join(HERE, "../../target/release/lora-moe"))
FEED_FORWARD = 'adapter.target_modules=["gate_proj","up_proj","down_proj"]'
LORA = ["--preset", "lora", "--set", "adapter.r=32", "--set", FEED_FORWARD]
LORAMOE = ["--preset", "loramoe-paper", "--set", "adapter.num_experts=8"]
# The models' files hold bfloat16, and so do we unless told otherwise.
WIDE = ["--dtype", "float32"]
HALF = ["--precision", "bf16"]


def small_llama(folder):
    """The random Llama of `train_step.py`, in bfloat16."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=4096, hidden_size=512, intermediate_size=1376, num_hidden_layers=8, num_attention_heads=8)
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def cases(model, small):
    """Names, the arguments of our bench, and those of PyTorch's side, which begin with its script."""
    train = ["train", "--batch-size", "4", "--seq-len", "256", "--steps", "4", "--config"]
    model_step = ["model_step.py", "--model", model]
    step = [*model_step, "--batch-size", "4", "--steps", "4"]
    yield "train, LoRA, f32", [*train, model, *LORA], step
    yield "train, LoRA, f32 with weights held in f32", [*train, model, *LORA, *WIDE], step
    yield "train, LoRA, bf16", [*train, model, *LORA, *HALF], [*step, "--dtype", "bfloat16"]
    long = ["train", "--batch-size", "1", "--seq-len", "4096", "--steps", "2", "--config", model, *LORA, *HALF]
    theirs = [*model_step, "--batch-size", "1", "--seq-len", "4096", "--steps", "2", "--dtype", "bfloat16"]
    yield "train, LoRA, bf16, 1 x 4,096", long, theirs
    loramoe = [*step, "--dtype", "bfloat16", "--method", "loramoe"]
    yield "train, LoRAMoE, bf16", [*train, model, *LORAMOE, *HALF], loramoe
    for name, ours, dtype in [("f32", [], "float32"), ("bf16", HALF, "bfloat16")]:
        theirs = ["train_step.py", "--method", "loramoe", "--steps", "6", "--dtype", dtype]
        yield f"train, 29.5M Llama, LoRAMoE, {name}", [*train, small, *LORAMOE, *ours], theirs
    for batch in [1, 8, 32]:
        ours = ["generate", "--tokens", "48", "--batch-size", str(batch), "--config", model, *HALF]
        theirs = [*model_step, "--generate", "32", "--batch-size", str(batch), "--steps", "2", "--dtype", "bfloat16"]
        yield f"generate, {batch} at once, bf16", ours, theirs
    ours = ["generate", "--tokens", "2", "--prompt", "1024", "--config", model, *HALF]
    theirs = [*model_step, "--generate", "2", "--prompt", "1024", "--steps", "3", "--dtype", "bfloat16"]
    yield "read a prompt of 1,024, bf16", ours, theirs


def run(command, reads_prompt):
    """Tokens per second and MiB."""
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = json.loads(result.stdout.strip().splitlines()[-1])
    rate = 1024 / found["prompt_s"] if reads_prompt else found["tokens_per_s"]
    return rate, found["peak_rss_mb"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="", help="cases whose name begins so")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as small:
        small_llama(small)
        chosen = [case for case in cases(args.model, small) if case[0].startswith(args.only)]
        found = {case[0]: ([], []) for case in chosen}
        for _ in range(args.rounds):
            for name, ours, theirs in chosen:
                reads_prompt = name.startswith("read")
                sides = [COMMAND, "bench", *ours, "--json"], [sys.executable, os.path.join(HERE, theirs[0]), *theirs[1:]]
                for side, command in zip(found[name], sides):
                    side.append(run(command, reads_prompt))
    print("| tokens/s | ours | PyTorch | ratio | MiB, ours | MiB, PyTorch |\n|---|---:|---:|---:|---:|---:|")
    for name, sides in found.items():
        rates = [[rate for rate, _ in side] for side in sides]
        ranges = [f"{min(rate):,.0f} – {max(rate):,.0f}" for rate in rates]
        ratio = statistics.median(rates[0]) / statistics.median(rates[1])
        peaks = [f"{max(peak for _, peak in side):,.0f}" for side in sides]
        print("|", " | ".join([name, *ranges, f"{ratio:.2f}", *peaks]), "|")


if __name__ == "__main__":
    main()
