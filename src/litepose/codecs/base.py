"""What every codec is: the meaning of a network's channels, in both directions.

A codec is a frozen dataclass of settings. Networks know nothing of it; the pose spec carries it with the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

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

    def join(self, found: Sequence[Found], skeleton: Skeleton) -> Poses:
        """Return a picture's people from those of its frames: rescored, without those found twice. No order."""
        ...
