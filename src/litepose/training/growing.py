"""A wider network that starts as a narrower one: the narrow one's channels come first, and no new one reaches them yet.

Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016, by zeros instead of copied channels: a
weight from a new channel to an old one starts at zero and learns from its first step, all other new weights start as in
a fresh network. Both networks then answer alike, as long as no layer joins channels end to end: LitePose has none.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


def grow(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor] | None:
    """Return a narrower network's tensors at the size of the wider `network`, with its fresh values in new places.

    state: by the same names. None where the network is not wider, has a tensor that `state` lacks, or where one is
    larger in `state` or differs in more than channels: kernels, or the number of axes.
    """
    own = network.state_dict()
    if not set(own) <= set(state) or all(own[name].shape == state[name].shape for name in own):
        return None
    if not all(_is_corner_of(state[name], own[name]) for name in own):
        return None
    outputs = {f"{name}.weight": _output_axis(module) for name, module in network.named_modules()}
    return {name: _grown(state[name], fresh, output=outputs.get(name, 0)) for name, fresh in own.items()}


def _is_corner_of(small: Tensor, large: Tensor) -> bool:
    if small.dim() != large.dim() or small.shape[2:] != large.shape[2:]:
        return False
    return all(a <= b for a, b in zip(small.shape[:2], large.shape[:2], strict=True))


def _output_axis(module: nn.Module) -> int:
    """Return the axis of a layer's weight along which its outputs lie: (out, in, h, w), or (in, out, h, w)."""
    return 1 if isinstance(module, nn.ConvTranspose2d) else 0


def _grown(old: Tensor, fresh: Tensor, *, output: int) -> Tensor:
    grown = fresh.clone()
    if grown.dim() > 1:
        grown.narrow(output, 0, old.shape[output]).zero_()
    grown[tuple(slice(size) for size in old.shape)] = old.to(grown)
    return grown
