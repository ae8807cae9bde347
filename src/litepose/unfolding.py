"""A checkpoint from an exported file: the network as it was before batch normalisation was folded, fit for training.

Given what `export_norms` stores, every number that an export writes is a constant plus a factor times one number of the
network: one of a convolution, or a running mean. Which one it is, the export's own code tells: networks filled with 0,
with 1 and with their numbers' places in two random orders are folded and rewritten as the file's was, in float64. So
nothing here knows how a family folds or how a rewrite lays out its weights, and what is new there works here too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from litepose import checkpoints
from litepose.errors import CheckpointError, MissingPackageError
from litepose.export import HALF_TOLERANCE, compare, example_input
from litepose.export_norms import NORMS_KEY, norms_of, set_norms
from litepose.export_rewrites import optimised_for_export
from litepose.export_storage import stored_tensors
from litepose.models.layers import ConvNorm, fuse_batchnorm
from litepose.runtimes import open_runtime
from litepose.spec import PoseSpec

ROUNDING = 2.0**-10  # relative, of a number that was rounded to half precision, twice at most
AGAIN = "Train on from the checkpoint it was exported from, or export that again with --trainable."

Rewrite = Callable[[nn.Module], nn.Module]


def load(path: str | Path) -> tuple[dict[str, Tensor], PoseSpec]:
    """Return weights (on the CPU) and spec of an .onnx file that was exported for training.

    Convolutions in front of a normalisation's weight of 0, which the file cannot hold, start afresh.
    Raises CheckpointError where the file lacks the normalisations, was made by another version or computes something
    else than the network found, and ModelError, SpecError, MissingPackageError.
    """
    path = Path(path)
    runtime: Any = open_runtime(path, runtime="onnx")
    model = _read(path)
    metadata = {one.key: one.value for one in model.metadata_props}
    if NORMS_KEY not in metadata:
        raise CheckpointError(
            f"{path} cannot be trained on: its batch normalisations are folded into the convolutions, and what that "
            f"loses is not stored. {AGAIN}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = checkpoints.build_network(runtime.spec).eval()
    set_norms(network, metadata[NORMS_KEY], source=str(path))
    for bias in _silent_biases(network):
        bias.data.zero_()
    rewrites: list[Rewrite] = [lambda one: optimised_for_export(one, runtime.size), fuse_batchnorm]
    stored = stored_tensors(model)
    _fill(network.double(), _unfolded(network, _rewrite_of(stored, network, rewrites, path), stored, path))
    _check(network.float(), runtime, path)
    return network.state_dict(), runtime.spec


def load_any_network(path: str | Path) -> tuple[nn.Module, PoseSpec]:
    """Return (network in eval mode, spec) of a checkpoint, or of an .onnx file as `load` takes it.

    Raises as `load` and `checkpoints.load_network` do.
    """
    if Path(path).suffix.lower() != ".onnx":
        return checkpoints.load_network(path)
    state, spec = load(path)
    network = checkpoints.build_network(spec)
    checkpoints.load_state(network, state, source=str(path))
    return network.eval(), spec


def _read(path: Path) -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MissingPackageError(
            f"Training from {path} needs the package onnx. Install it: pip install 'litepose[train]'"
        ) from error
    return onnx.load(str(path))


def _rewrite_of(stored: dict[str, np.ndarray], network: nn.Module, rewrites: Sequence[Rewrite], path: Path) -> Rewrite:
    """Return the first rewrite whose tensors are all in the file."""
    for rewrite in rewrites:
        wanted = {name: tuple(tensor.shape) for name, tensor in rewrite(network).state_dict().items()}
        if all(name in stored and stored[name].shape == shape for name, shape in wanted.items()):
            return rewrite
    raise CheckpointError(
        f"{path} cannot be trained on: its tensors are not those that this litepose exports of "
        f"{type(network).__name__}, so another version made it. {AGAIN}"
    )


def _unknown(network: nn.Module) -> list[Tensor]:
    """Return the tensors, sharing memory, that the file's numbers tell: all but those of `set_norms` and counters.

    And but a convolution's bias in front of a normalisation, which never learns: only its difference from the running
    mean is in the file. It becomes 0.
    """
    norms = norms_of(network)
    known = {id(tensor) for norm in norms for tensor in (norm.weight, norm.bias)}
    known |= {id(bias) for bias in _silent_biases(network)}
    parameters = [parameter.data for parameter in network.parameters() if id(parameter) not in known]
    return [*parameters, *(norm.running_mean for norm in norms if norm.running_mean is not None)]


def _silent_biases(network: nn.Module) -> list[Tensor]:
    """Return the biases of convolutions in front of a normalisation."""
    pairs = (module for module in network.modules() if isinstance(module, ConvNorm))
    return [pair.conv.bias for pair in pairs if pair.conv.bias is not None and isinstance(pair.norm, nn.BatchNorm2d)]


def _fill(network: nn.Module, numbers: Tensor) -> nn.Module:
    """Set all unknown tensors from one vector."""
    tensors = _unknown(network)
    for tensor, part in zip(tensors, numbers.split([one.numel() for one in tensors]), strict=True):
        tensor.copy_(part.reshape(tensor.shape))
    return network


def _unfolded(network: nn.Module, rewrite: Rewrite, stored: dict[str, np.ndarray], path: Path) -> Tensor:
    """Return the unknown numbers, one float64 vector, of a float64 network that has its normalisations."""
    numbers = torch.cat([tensor.flatten() for tensor in _unknown(network)])
    constants = rewrite(_fill(network, torch.zeros_like(numbers))).state_dict()
    ones = rewrite(_fill(network, torch.ones_like(numbers))).state_dict()
    factors = {name: ones.pop(name) - constant for name, constant in constants.items()}
    first, second = (_places(network, rewrite, constants, factors, seed=seed) for seed in (1, 2))
    found = torch.zeros(len(numbers), dtype=torch.bool)
    for name, factor in factors.items():
        rest, free = torch.from_numpy(stored[name].astype(np.float64)) - constants[name], factor != 0
        if not (rest[~free].abs() <= ROUNDING * constants[name][~free].abs() + 1e-7).all():
            raise _other_version(path, f"{name} holds other constants")
        if not torch.equal(first[name], second[name]):  # sums of several numbers get two names
            raise _other_version(path, f"{name} mixes numbers of several tensors")
        numbers[first[name]] = rest[free] / factor[free]
        found[first[name]] = True
    if not found.all() and not any((norm.weight == 0).any() for norm in norms_of(network)):
        raise _other_version(path, f"{int((~found).sum())} of {len(found)} numbers are not in it")
    return numbers


def _places(
    network: nn.Module, rewrite: Rewrite, constants: dict[str, Tensor], factors: dict[str, Tensor], *, seed: int
) -> dict[str, Tensor]:
    """Return, for each tensor that an export writes, where its numbers that are not constant come from.

    seed: of the order in which the unknown numbers are numbered.
    """
    count = sum(tensor.numel() for tensor in _unknown(network))
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    written = rewrite(_fill(network, torch.argsort(order).double())).state_dict()
    places = {}
    for name, factor in factors.items():
        free = factor != 0
        ranks = ((written.pop(name) - constants[name])[free] / factor[free]).round().long()
        places[name] = order[ranks.clamp(0, count - 1)]
    return places


def _other_version(path: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{path} cannot be trained on: {what}, so another litepose exported it. {AGAIN}")


def _check(network: nn.Module, runtime: Any, path: Path) -> None:
    """Raise CheckpointError unless the network computes what the file does."""
    size = runtime.size or runtime.spec.input.size
    report = compare(network, runtime, [example_input(runtime.spec.input, size)], HALF_TOLERANCE)
    if not report.passed:
        raise CheckpointError(
            f"{path} cannot be trained on: the network found from it differs from the file by up to "
            f"{report.max_error:.3g} (largest output {report.largest:.3g}; allowed are {report.allowed:.3g}). {AGAIN}"
        )
