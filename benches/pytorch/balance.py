"""The balance losses of `cargo bench --bench balance` in PyTorch, for comparison on the same machine.

    python benches/pytorch/balance.py [--forward]

One layer's routing by the top 2 of E experts, everything that a loss reads a leaf; forward and backward, or forward
only. Prints a table of medians in ms, as the benchmark does.
"""

import argparse
import statistics
import time

import torch

SAMPLES, TOP_K, RANK, INPUTS, OUTPUTS = 8, 2, 4, 512, 1376
TOKENS, EXPERTS = (512, 4096, 16384), (4, 8, 64)


class Layer:
    def __init__(self, tokens, experts):
        self.logits = torch.randn(tokens, experts)
        self.probabilities = self.logits.softmax(-1)
        self.selection = self.logits >= self.logits.topk(TOP_K).values[:, -1:]
        self.weights = self.probabilities * self.selection
        self.a, self.b = torch.randn(experts, RANK, INPUTS), torch.randn(experts, OUTPUTS, RANK)
        for leaf in (self.logits, self.probabilities, self.weights, self.a, self.b):
            leaf.requires_grad_()
        self.types = torch.arange(SAMPLES) % 2


def localized_balancing(layer):
    experts = layer.weights.shape[1]
    use = layer.weights.view(SAMPLES, -1, experts).sum(1)
    of_type_1 = (torch.arange(experts) < (experts + 1) // 2).long()
    z = use * torch.where(layer.types[:, None] == of_type_1, 1.1, 0.9)
    return 0.1 * z.var() / z.mean()


def load_balancing(layer):
    f = layer.selection.float().mean(0)
    return 1e-2 * layer.weights.shape[1] * (f * layer.probabilities.mean(0)).sum()


def importance(layer):
    use = layer.weights.mean(0)
    return 1e-2 * use.var() / (use.mean() ** 2 + 1e-10)


def z_loss(layer):
    return 1e-3 * layer.logits.logsumexp(-1).square().mean()


def entropy(layer):
    p = layer.probabilities.clamp_min(1e-12)
    largest = torch.tensor(float(p.shape[1])).log()
    return -1e-2 * ((p * p.log()).sum(-1) / largest).mean()


def expert_similarity(layer):
    experts = layer.weights.shape[1]
    products = sum(x.flatten(1) @ x.flatten(1).T for x in (layer.a, layer.b))
    norms = products.diagonal().clamp_min(1e-12)
    cosines = products.square() / torch.outer(norms, norms)
    cosines = cosines.masked_fill(torch.eye(experts, dtype=torch.bool), 0.0)
    return 1e-2 * cosines.sum() / (experts * (experts - 1))


def l1(layer):
    return 1e-2 * layer.weights.shape[1] * (layer.a.abs().mean() + layer.b.abs().mean())


LOSSES = (localized_balancing, load_balancing, importance, z_loss, entropy, expert_similarity, l1)


def measure(loss, layer, backward, seconds=0.5):
    """The median time of a call, in ms, of at least ten."""
    times, started = [], None
    while started is None or len(times) < 10 or time.perf_counter() - started < seconds:
        start = time.perf_counter()
        with torch.set_grad_enabled(backward):
            value = loss(layer)
        if backward:
            value.backward()
            for leaf in (layer.logits, layer.probabilities, layer.weights, layer.a, layer.b):
                leaf.grad = None
        if started is None:  # The first call allocates.
            started = time.perf_counter()
        else:
            times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--forward", action="store_true", help="without the backward pass")
    args = parser.parse_args()
    torch.manual_seed(0)
    sizes = [(t, e) for t in TOKENS for e in EXPERTS]
    print(f"torch {torch.__version__}, balance/forward{'' if args.forward else '+backward'}, median in ms\n")
    print("| | " + " | ".join(f"T{t}/E{e}" for t, e in sizes) + " |")
    print("|---|" + "---:|" * len(sizes))
    for loss in LOSSES:
        cells = [f"{measure(loss, Layer(*size), not args.forward):.3g}" for size in sizes]
        print(f"| {loss.__name__} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
