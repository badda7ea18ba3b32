"""A training step of LoRA on a Hugging Face folder, and generation, by transformers and peft: what `lora-moe bench train`
and `lora-moe generate` are compared with.

    python benches/pytorch/model_step.py --model path/to/smollm2 --seq-len 1024 --batch-size 2 [--dtype bfloat16]
    python benches/pytorch/model_step.py --model path/to/smollm2 --generate 64 [--dtype bfloat16]

LoRA of rank 32 on the feed-forward linears, or with `--method loramoe` 8 experts of rank 4 there in two products, as
`train_step.py` has them; attention by PyTorch's scaled_dot_product_attention, AdamW. Prints one JSON object: the median
time of a step, tokens per second, and the peak of resident memory in MiB.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from peft import LoraConfig, get_peft_model
from train_step import Adapted, balance
from transformers import AutoModelForCausalLM

TARGETS = ["gate_proj", "up_proj", "down_proj"]


def with_loramoe(model):
    model.requires_grad_(False)
    torch.set_default_dtype(model.dtype)
    for layer in model.model.layers:
        for name in TARGETS:
            base = getattr(layer.mlp, name)
            adapted = Adapted(base.in_features, base.out_features, "loramoe", 8, 4, 32)
            adapted.base = base
            setattr(layer.mlp, name, adapted)
    return model


def train(model, args):
    loramoe = args.method == "loramoe"
    if loramoe:
        model = with_loramoe(model)
    else:
        model = get_peft_model(model, LoraConfig(r=32, lora_alpha=32, target_modules=TARGETS))
    types = torch.arange(args.batch_size) % 2
    if args.gradient_checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    model.train()
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4)
    times = []
    for step in range(args.warmup + args.steps):
        ids = torch.randint(0, model.config.vocab_size, (args.batch_size, args.seq_len))
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        if loramoe:
            loss = loss + balance(model, types)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step >= args.warmup:
            times.append(time.perf_counter() - start)
    step = statistics.median(times)
    return {"step_s": step, "tokens_per_s": args.batch_size * args.seq_len / step}


def generate(model, args):
    model.eval()
    ids = torch.randint(0, model.config.vocab_size, (args.batch_size, args.prompt))
    times = []
    with torch.no_grad():
        for step in range(args.warmup + args.steps):
            # The difference to one token is the time of the others, without that of the prompt.
            spent = []
            for new in (1, 1 + args.generate):
                start = time.perf_counter()
                model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new,
                               min_new_tokens=new, pad_token_id=0)
                spent.append(time.perf_counter() - start)
            if step >= args.warmup:
                times.append((spent[0], (spent[1] - spent[0]) / args.generate))
    prompt, token = (statistics.median(part) for part in zip(*times))
    return {"prompt_s": prompt, "token_s": token, "tokens_per_s": args.batch_size / token}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--method", default="lora", choices=["lora", "loramoe"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--generate", type=int, default=0, help="time so many tokens after the first instead of training")
    parser.add_argument("--prompt", type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    result = generate(model, args) if args.generate else train(model, args)
    result["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result["threads"] = torch.get_num_threads()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
