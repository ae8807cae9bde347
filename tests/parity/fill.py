"""Deterministic states and inputs for parity checks.

A reference model's state is not stored: it is rebuilt from the names, shapes and dtypes of its tensors.
Each tensor is drawn from its own generator, seeded by the CRC-32 of its name, so order does not matter.
"""

import math
import zlib

import numpy as np


def fill_tensor(key: str, shape: tuple, dtype: str) -> np.ndarray:
    """One tensor of the state. dtype is the torch name without 'torch.', e.g. 'float32', 'int64'."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    shape = tuple(shape)
    if "int" in dtype or "bool" in dtype:
        return np.zeros(shape, dtype=dtype)
    leaf = key.rsplit(".", 1)[-1]
    if leaf == "running_var":
        out = rng.uniform(0.5, 1.5, shape)
    elif leaf == "running_mean":
        out = rng.normal(0.0, 0.1, shape)
    elif len(shape) >= 2:
        fan_in = max(1, int(np.prod(shape[1:])))
        out = rng.normal(0.0, math.sqrt(2.0 / fan_in), shape)
    elif leaf == "bias":
        out = rng.uniform(-0.1, 0.1, shape)
    else:  # scales of normalisation layers, and any other vector
        out = rng.uniform(0.5, 1.5, shape)
    return np.asarray(out, dtype=dtype)


def fill_state(layout) -> dict:
    """layout: iterable of (key, shape, dtype). Returns {key: array}."""
    return {key: fill_tensor(key, tuple(shape), dtype) for key, shape, dtype in layout}


def fill_input(name: str, shape: tuple) -> np.ndarray:
    """A smooth-plus-noise float32 input, roughly zero mean and unit variance, e.g. NCHW images."""
    rng = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    shape = tuple(shape)
    out = rng.normal(0.0, 0.5, shape)
    if len(shape) == 4:
        n, c, h, w = shape
        y = np.linspace(0, 2 * math.pi, h)[:, None]
        x = np.linspace(0, 2 * math.pi, w)[None, :]
        for i in range(n):
            for j in range(c):
                out[i, j] += np.sin((1 + j) * y + i) * np.cos((2 + i) * x + j)
    return out.astype(np.float32)
