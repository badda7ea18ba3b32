#!/usr/bin/env python3
"""Makes crates/finetune/tests/golden/loftq.safetensors: loftq.py OUTPUT

PiSSA's start on a weight that is held in NF4, with its factors found 1, 2 and 5 times (`loftq_iter`): `base` is what the codes of a random weight stand for,
`product.T` the product of the factors after T rounds, and `held.T` what the codes of `base - product.T` stand for, all [out, in]. As `pissa_quant` of the
published code (github.com/GraphPKU/PiSSA, utils/init_qpissa.py), with blocks of 64 as bitsandbytes has them and the table of QLoRA's appendix E.
"""
import sys

import numpy as np
from safetensors.numpy import save_file

OUT, IN, RANK, BLOCK = 40, 96, 6, 64
NF4 = np.array([-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
                0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                0.7229568362236023, 1.0], np.float32)


def held(weight):
    blocks = weight.astype(np.float32).reshape(-1, BLOCK)
    scale = np.abs(blocks).max(1, keepdims=True)
    codes = np.abs((blocks / scale)[..., None] - NF4).argmin(-1)
    return (NF4[codes] * scale).reshape(weight.shape)


def product(matrix):
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    return (left[:, :RANK] * values[:RANK]) @ right[:RANK]


def main():
    rng = np.random.default_rng(11)
    spectrum = np.diag(1.0 / np.arange(1, OUT + 1))
    base = held(rng.standard_normal((OUT, OUT)) @ spectrum @ rng.standard_normal((OUT, IN)) * 0.1)
    tensors, rest = {"base": base}, base.astype(np.float64)
    for rounds in range(1, 6):
        taken = product(rest)
        kept = held(base - taken)
        rest = base.astype(np.float64) - kept
        if rounds in (1, 2, 5):
            tensors |= {f"product.{rounds}": taken.astype(np.float32), f"held.{rounds}": kept}
            print(rounds, np.linalg.norm(base - taken - kept) / np.linalg.norm(base))
    save_file(tensors, sys.argv[1])


if __name__ == "__main__":
    main()
