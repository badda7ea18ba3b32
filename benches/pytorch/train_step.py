"""The training steps of `lora-moe bench train` and `cargo bench --bench training` in PyTorch, for comparison on
the same machine.

    python benches/pytorch/train_step.py --method lora | loramoe | loramoe-loop | top2 [--steps N] [--dtype bfloat16]
    python benches/pytorch/train_step.py --method lora --size small --batch-size 4 --seq-len 128
    python benches/pytorch/train_step.py --method lora --size 1b --seq-len 1024 --device cuda [--tf32]

A random Llama, frozen (`base`: hidden 512, 8 layers, intermediate 1376, vocabulary 4096, 8 heads; `small`: 256, 4, 688,
1024, 4; `1b`: the shape of Llama 3.2 1B), made on the device; adapters on the feed-forward linears with dropout 0.05; AdamW.
`loramoe` runs all experts in two matrix products, `loramoe-loop` one expert after the other, as published code does, and
`top2` is `loramoe` with the two largest weights of each token. On a GPU `peak_device_mb` is PyTorch's own count.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

# Hidden size, layers, intermediate size, vocabulary, heads, heads of keys; heads are of 64.
SIZES = {"base": (512, 8, 1376, 4096, 8, 8), "small": (256, 4, 688, 1024, 4, 4), "1b": (2048, 16, 8192, 128256, 32, 8)}


class Adapted(nn.Module):
    def __init__(self, inputs, outputs, method, experts, rank, alpha):
        super().__init__()
        self.base = nn.Linear(inputs, outputs, bias=False).requires_grad_(False)
        self.method, self.experts, self.rank, self.scaling = method, experts, rank, alpha / rank
        self.a = nn.Parameter(torch.empty(experts * rank, inputs).uniform_(-1, 1) / inputs**0.5)
        self.b = nn.Parameter(torch.zeros(outputs, experts * rank))
        if experts > 1:
            self.router = nn.Linear(inputs, experts, bias=False)
        self.weights = None

    def forward(self, x):
        y = self.base(x)
        if self.experts > 1:
            self.weights = weights = self.router(x).softmax(-1)
            if self.method == "top2":
                kept = torch.zeros_like(weights).scatter(-1, weights.topk(2).indices, 1.0)
                weights = weights * kept / (weights * kept).sum(-1, keepdim=True)
        if self.method != "loramoe-loop":
            x = F.dropout(x, 0.05)
        if self.experts == 1:
            return y + F.linear(F.linear(x, self.a), self.b * self.scaling)
        if self.method != "loramoe-loop":
            h = F.linear(x, self.a).unflatten(-1, (self.experts, self.rank))
            h = (h * weights.unsqueeze(-1)).flatten(-2)
            return y + F.linear(h, self.b * self.scaling)
        for e in range(self.experts):
            rows = slice(e * self.rank, (e + 1) * self.rank)
            out = F.linear(F.linear(F.dropout(x, 0.05), self.a[rows]), self.b[:, rows]) * self.scaling
            y = y + weights[..., e : e + 1] * out
        return y


class Block(nn.Module):
    def __init__(self, hidden, intermediate, heads, kv_heads, make):
        super().__init__()
        self.heads, self.kv_heads = heads, kv_heads
        self.n1, self.n2 = nn.RMSNorm(hidden, eps=1e-5), nn.RMSNorm(hidden, eps=1e-5)
        self.q, self.o = (nn.Linear(hidden, hidden, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(hidden, kv_heads * 64, bias=False) for _ in range(2))
        self.gate, self.up = make(hidden, intermediate), make(hidden, intermediate)
        self.down = make(intermediate, hidden)
        for module in (self.n1, self.n2, self.q, self.k, self.v, self.o):
            module.requires_grad_(False)

    def forward(self, x, cos, sin):
        batch, seq, hidden = x.shape
        h = self.n1(x)
        q, k, v = (
            m(h).view(batch, seq, -1, 64).transpose(1, 2) for m in (self.q, self.k, self.v)
        )
        q, k = (t * cos + torch.cat((-t[..., 32:], t[..., :32]), -1) * sin for t in (q, k))
        h = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.heads != self.kv_heads)
        x = x + self.o(h.transpose(1, 2).reshape(batch, seq, hidden))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def balance(model, types):
    loss = 0.0
    for module in model.modules():
        if isinstance(module, Adapted) and module.weights is not None:
            use = module.weights.sum(1)
            of_type_1 = torch.arange(module.experts) < (module.experts + 1) // 2
            z = use * torch.where(types[:, None] == of_type_1.long(), 1.1, 0.9)
            loss = loss + z.var() / z.mean()
    return 0.1 * loss


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", default="loramoe", choices=["lora", "loramoe", "loramoe-loop", "top2"])
    parser.add_argument("--size", default="base", choices=SIZES)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=256)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tf32", action="store_true", help="products of f32 in TF32, on a GPU")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_default_device(args.device)
    on_gpu = args.device.startswith("cuda")
    torch.set_float32_matmul_precision("high" if args.tf32 else "highest")
    torch.set_default_dtype(getattr(torch, args.dtype))
    experts, rank, alpha = (1, 32, 64) if args.method == "lora" else (8, 4, 32)
    make = lambda i, o: Adapted(i, o, args.method, experts, rank, alpha)
    hidden, layers, intermediate, vocabulary, heads, kv_heads = SIZES[args.size]
    embedding = nn.Embedding(vocabulary, hidden).requires_grad_(False)
    blocks = nn.ModuleList(Block(hidden, intermediate, heads, kv_heads, make) for _ in range(layers))
    norm = nn.RMSNorm(hidden, eps=1e-5).requires_grad_(False)
    head = nn.Linear(hidden, vocabulary, bias=False).requires_grad_(False)
    trainable = [p for p in blocks.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=1e-4)
    angles = torch.outer(torch.arange(args.seq_len), 10000.0 ** (-torch.arange(0, 64, 2) / 64))
    cos, sin = (torch.cat((t, t), -1).to(embedding.weight.dtype) for t in (angles.cos(), angles.sin()))
    types = torch.arange(args.batch_size) % 2

    times = []
    for step in range(args.steps + 2):
        ids = torch.randint(0, vocabulary, (args.batch_size, args.seq_len))
        if on_gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        x = embedding(ids)
        for block in blocks:
            x = block(x, cos, sin)
        logits = head(norm(x[:, :-1]))
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        if experts > 1:
            loss = loss + balance(blocks, types)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if on_gpu:
            torch.cuda.synchronize()
        if step >= 2:
            times.append(time.perf_counter() - start)
    step_s = statistics.median(times)
    print(json.dumps({
        "torch": torch.__version__,
        "method": args.method,
        "tokens_per_s": args.batch_size * args.seq_len / step_s,
        "step_s": step_s,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "peak_device_mb": torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None,
        "trainable": sum(p.numel() for p in trainable),
    }))


if __name__ == "__main__":
    main()
