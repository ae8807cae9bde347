"""What every codec is: the meaning of a network's channels, in both directions.

A codec is a frozen dataclass of settings. Networks know nothing of it; the pose spec carries it with the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from litepose.errors import ModelError
from litepose.poses import Poses, Sample
from litepose.skeleton import Skeleton


@dataclass(frozen=True)
class Pass:
    """What one forward pass gave for one picture.

    outputs: the network's maps, each (C, h, w) float32, in spec order.
    mirrored: whether the network saw the mirrored input (the maps are still mirrored).
    scale: of a multi-scale test; 1 in the plain case.
    """

    outputs: tuple[np.ndarray, ...]
    mirrored: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class Found:
    """The people that were found in one frame of a picture: the whole of it, or the crop around a box.

    poses: in picture pixels. area: of the frame, picture px^2. score: of the box; 1 where nobody judged it.
    """

    poses: Poses
    area: float
    score: float = 1.0


@dataclass(frozen=True)
class MapLayers:
    """A codec's maps as they are shown to people: both cover the network input at scale 1.

    heatmaps: (K, h, w) float32; 1 = as sure as the targets were. tags: (K, h, w) float32, what groups keypoints into
        people; None where nothing does.
    """

    heatmaps: np.ndarray
    tags: np.ndarray | None = None


class Codec(Protocol):
    """The contract; a new codec is one new file with one frozen dataclass that fulfils it.

    name: how spec files call it.
    mode: "exact" = the reference's numbers, "fast" = the documented shortcut.
    """

    name: ClassVar[str]
    mode: str

    def channels(self, skeleton: Skeleton) -> tuple[int, ...]:
        """Return how many channels each network output needs."""
        ...

    def channel_names(self, skeleton: Skeleton) -> tuple[tuple[str, ...], ...]:
        """Return what each channel of each network output means; a name means the same on every skeleton."""
        ...

    def strides(self) -> tuple[int, ...]:
        """Return input px per map cell of each network output."""
        ...

    def encode(self, sample: Sample, input_size: tuple[int, int]) -> Any:
        """Return the training targets (the codec's own frozen dataclass of arrays).

        sample: already in the frame of the network input, `input_size` (w, h).
        """
        ...

    def plan(self, sample: Sample, input_size: tuple[int, int]) -> Any:
        """Return what `encode` would draw, undrawn: another frozen dataclass, small enough to send around."""
        ...

    def aggregate(self, passes: Sequence[Pass], size: tuple[int, int], skeleton: Skeleton) -> Any:
        """Merge forward passes over one picture into the maps that `decode` reads.

        size: (w, h) of the network input at scale 1.
        """
        ...

    def decode(self, maps: Any, skeleton: Skeleton) -> Poses:
        """Return the people, in pixels of the network input at scale 1."""
        ...

    def layers(self, maps: Any, skeleton: Skeleton) -> MapLayers:
        """Return the maps that `decode` reads, as they are shown to people."""
        ...

    def join(self, found: Sequence[Found], skeleton: Skeleton) -> Poses:
        """Return a picture's people from those of its frames: rescored, without those found twice. No order."""
        ...


def check_outputs(outputs: Sequence[np.ndarray], channels: Sequence[int]) -> None:
    """Raise ModelError unless outputs have these channels."""
    shapes = [np.shape(output) for output in outputs]
    if [shape[0] if len(shape) == 3 else None for shape in shapes] != list(channels):
        raise ModelError(
            f"The network gave maps of shape {shapes}; the codec expects {len(channels)} outputs (C, h, w) with "
            f"{list(channels)} channels. The model file's spec and its network do not belong together: export again."
        )


def check_finite(values: np.ndarray, what: str) -> None:
    """Raise ModelError where the network's maps hold NaN or infinity."""
    if not np.isfinite(values).all():
        raise ModelError(
            f"The network's {what} hold NaN or infinite values, so nobody can be found. Check the picture's "
            "normalisation and the weights (a training that diverged, or half precision that overflowed)."
        )
