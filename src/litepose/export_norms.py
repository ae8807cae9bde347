"""What folding a batch normalisation loses, kept in an exported file so that a training can go on from it.

With s = g / sqrt(v + eps), folding makes of a convolution's weights w and a normalisation's weight g, bias b, mean m
and variance v the weights w s and the bias b - m s. Here lie g, b and the deviation sqrt(v) of every channel in half
precision, the normalisations in the order of the network's modules. What is left, w and m, follows from the folded
tensors (see `unfolding`), so that this rounding changes nothing of what the network computes.
"""

from __future__ import annotations

import base64
import json

import numpy as np
import torch
from torch import Tensor, nn

from litepose.errors import CheckpointError, ExportError

NORMS_KEY = "litepose_norms"  # of the metadata of an ONNX file
HALF = np.dtype("<f2")


def norms_of(network: nn.Module) -> list[nn.BatchNorm2d]:
    """Return the batch normalisations in the order of the modules."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def norms_to_json(network: nn.Module) -> str:
    """Return weight, bias and deviation of all normalisations as JSON. Raises ExportError beyond half precision."""
    lists: dict[str, list[Tensor]] = {"weight": [], "bias": [], "deviation": []}
    for norm in norms_of(network):
        assert norm.running_var is not None
        for key, values in (("weight", norm.weight), ("bias", norm.bias), ("deviation", norm.running_var.sqrt())):
            lists[key].append(values.detach().cpu())
    return json.dumps({key: _encoded(key, values) for key, values in lists.items()})


def set_norms(network: nn.Module, text: str, *, source: str) -> None:
    """Copy `norms_to_json`'s text into the network's normalisations; means stay. Raises CheckpointError."""
    norms = norms_of(network)
    sizes = [norm.num_features for norm in norms]
    try:
        data = json.loads(text)
        weight, bias, deviation = (_decoded(data[key], sizes) for key in ("weight", "bias", "deviation"))
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{source}: what it stores of batch normalisation does not fit the network's {len(norms)} normalisations "
            f"of {sum(sizes)} channels ({error!r}). Export it again, with --trainable."
        ) from error
    with torch.no_grad():
        for norm, *values in zip(norms, weight, bias, deviation, strict=True):
            assert norm.running_var is not None
            norm.weight.copy_(values[0])
            norm.bias.copy_(values[1])
            norm.running_var.copy_(values[2] ** 2)


def _encoded(key: str, values: list[Tensor]) -> str:
    numbers = torch.cat([torch.zeros(0), *values]).numpy()
    if (np.abs(numbers) > np.finfo(HALF).max).any():
        raise ExportError(
            f"The {key} of a batch normalisation reaches {np.abs(numbers).max():.3g}; half precision, in which it is "
            "stored for a training, ends at 65504. Export without it."
        )
    return base64.b64encode(numbers.astype(HALF).tobytes()).decode()


def _decoded(text: str, sizes: list[int]) -> list[Tensor]:
    """Return one tensor for each size. Raises ValueError, TypeError."""
    numbers = np.frombuffer(base64.b64decode(text, validate=True), dtype=HALF).astype(np.float64)
    if len(numbers) != sum(sizes):
        raise ValueError(f"{len(numbers)} channels")
    if not np.isfinite(numbers).all():
        raise ValueError("not a number")
    return list(torch.from_numpy(numbers).split(sizes))
