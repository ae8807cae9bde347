"""Output layers carried over to other keypoints: a channel keeps its weights where the old network has one of its name.

Which tensors have an axis with channels, and where on it they lie, the networks tell by themselves: the same network
with one keypoint (and limb) more has longer axes there. Channels that an output layer makes fill its axis; those that a
later layer reads beside features stand behind them, as in HigherHRNet.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from litepose import models
from litepose.spec import PoseSpec


@dataclass(frozen=True)
class ChannelAxis:
    """An axis of a tensor that ends with the channels of an output. first: the position of the first of them."""

    axis: int
    output: int
    first: int


def carry_over(
    state: Mapping[str, Tensor], fresh: Mapping[str, Tensor], *, old: PoseSpec, new: PoseSpec
) -> dict[str, Tensor]:
    """Return a network's tensors with those that hold channels made for other keypoints.

    state: of the network that `old` describes. fresh: of the one that `new` describes, from which channels without a
    namesake come. Tensors whose channels cannot be told, or that differ in more than channels, are left out.
    """
    before, now = channel_axes(old), channel_axes(new)
    names, wanted = old.codec.channel_names(old.skeleton), new.codec.channel_names(new.skeleton)
    carried = dict(state)
    for name in {*before, *now}:
        tensor, place = carried.pop(name, None), now.get(name)
        if tensor is None or place is None or before.get(name) != place or name not in fresh:
            continue
        if _without(tensor, place.axis) != _without(fresh[name], place.axis):
            continue
        old_names, new_names = names[place.output], wanted[place.output]
        shared = [one for one in new_names if one in old_names]
        features = range(place.first)
        source = torch.tensor([*features, *(place.first + old_names.index(one) for one in shared)], dtype=torch.long)
        target = torch.tensor([*features, *(place.first + new_names.index(one) for one in shared)], dtype=torch.long)
        chosen = tensor.index_select(place.axis, source).to(fresh[name])
        carried[name] = fresh[name].clone().index_copy_(place.axis, target.to(chosen.device), chosen)
    return carried


def channel_axes(spec: PoseSpec) -> dict[str, ChannelAxis | None]:
    """Return the tensors whose shape depends on the keypoints; None for those with channels that cannot be told."""
    longer = {key: spec.network[key] + 1 for key in ("num_keypoints", "num_limbs") if key in spec.network}
    now = models.build_shell(spec.model, **spec.network)
    more = models.build_shell(spec.model, **{**spec.network, **longer})
    channels = list(zip(now.output_channels, more.output_channels, strict=True))
    shapes = {name: tensor.shape for name, tensor in more.state_dict().items()}
    axes = {}
    for name, tensor in now.state_dict().items():
        grown = [axis for axis, size in enumerate(tensor.shape) if size != shapes[name][axis]]
        if len(grown) == 1:
            axes[name] = _place(grown[0], tensor.shape[grown[0]], shapes[name][grown[0]], channels)
        elif grown:
            axes[name] = None
    return axes


def _place(axis: int, size: int, longer: int, channels: list[tuple[int, int]]) -> ChannelAxis | None:
    """Return which output's channels make an axis longer, rather one that fills it. channels: (now, longer) of each."""
    alike = [(size - now, output) for output, (now, more) in enumerate(channels) if more - now == longer - size]
    features = [one for one in alike if one[0] >= 0]
    if not features:
        return None
    filled = [one for one in features if one[0] == 0]
    first, output = (filled or features)[0]
    return ChannelAxis(axis, output, first)


def _without(tensor: Tensor, axis: int) -> tuple[int, ...]:
    return (*tensor.shape[:axis], *tensor.shape[axis + 1 :])
