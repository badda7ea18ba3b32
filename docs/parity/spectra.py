"""Makes the reference decompositions of crates/svd-init/tests/spectra.rs: spectra.py OUTPUT.safetensors

Matrices in f32 whose spectra are hard, and numpy's triplets of them in f64. The sign that a decomposition leaves open is fixed as in svd-init: the largest
component of a left vector is positive.
"""
import sys

import numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(0)


def matrix(rows, columns, spectrum):
    left, _ = np.linalg.qr(rng.standard_normal((rows, len(spectrum))))
    right, _ = np.linalg.qr(rng.standard_normal((columns, len(spectrum))))
    return (left * np.array(spectrum) @ right.T).astype(np.float32)


even = lambda size, gap: [1.0 - gap * i for i in range(size)]
cases = {
    "wide": matrix(24, 40, even(24, 1e-3)),
    "tall": matrix(40, 24, even(24, 1e-3)),
    "square": matrix(32, 32, even(32, 1e-2)),
    "deficient": matrix(30, 20, even(8, 1e-3)),
    "clustered": matrix(24, 40, [(1.0 - 1e-6 * (i % 3)) * 0.8 ** (i // 3) for i in range(24)]),
    "huge_range": matrix(24, 40, [10.0 ** (-i / 3) for i in range(24)]),
    "tiny": matrix(20, 12, even(12, 1e-3)) * np.float32(1e-30),
    "huge": matrix(12, 20, even(12, 1e-3)) * np.float32(1e30),
}
tensors = {}
for name, weight in cases.items():
    left, values, right = np.linalg.svd(weight.astype(np.float64), full_matrices=False)
    signs = np.sign(left[np.abs(left).argmax(0), np.arange(left.shape[1])])
    tensors[f"{name}.matrix"] = weight
    tensors[f"{name}.values"] = values
    tensors[f"{name}.left"] = np.ascontiguousarray((left * signs).T)
    tensors[f"{name}.right"] = np.ascontiguousarray(right * signs[:, None])
save_file(tensors, sys.argv[1])
