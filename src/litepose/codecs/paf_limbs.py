"""Which limbs have part affinity fields, in which channels, and in which order people are put together from them.

OPENPOSE18 has the 19 limbs of Daniil-Osokin/lightweight-human-pose-estimation.pytorch@d23c284: the channels are its
training order, the decoding order its own. Any other skeleton has its own limbs, walked from the keypoint with most of
them, so that each limb begins where a person already is.
"""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass

from litepose.errors import SkeletonError
from litepose.skeleton import OPENPOSE18, Skeleton

# Indices into OPENPOSE18, in the order of the channels: limb i has the planes 2i (x) and 2i + 1 (y).
OPENPOSE_LIMBS = (
    (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 2), (2, 3), (3, 4), (2, 16),
    (1, 5), (5, 6), (6, 7), (5, 17), (1, 0), (0, 14), (0, 15), (14, 16), (15, 17),
)  # fmt: skip
OPENPOSE_ORDER = (6, 10, 7, 8, 11, 12, 0, 1, 2, 3, 4, 5, 14, 15, 17, 16, 18, 9, 13)
OPENPOSE_CLOSING = 2  # shoulder to ear


@dataclass(frozen=True)
class Limbs:
    """The limbs of a skeleton.

    ends: (keypoint, keypoint) of each, in the order of the channels; a field points from the first to the second.
    order: in which they are decoded. num_closing: the last so many of `order` close a ring: they found nobody.
    """

    ends: tuple[tuple[int, int], ...]
    order: tuple[int, ...]
    num_closing: int

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def closing(self) -> frozenset[int]:
        """The limbs that close a ring."""
        return frozenset(self.order[len(self.order) - self.num_closing :])


@functools.lru_cache(maxsize=16)
def limbs_of(skeleton: Skeleton) -> Limbs:
    """Return the limbs of a skeleton; of one that names none, a chain through its keypoints.

    Raises SkeletonError for a single keypoint.
    """
    if skeleton.keypoints == OPENPOSE18.keypoints:
        return Limbs(OPENPOSE_LIMBS, OPENPOSE_ORDER, OPENPOSE_CLOSING)
    ends = skeleton.limb_indices or tuple((i, i + 1) for i in range(skeleton.num_keypoints - 1))
    if not ends:
        raise SkeletonError(
            f"Part affinity fields were asked for on skeleton {skeleton.name!r}, which has one keypoint and so no "
            "limb. Give it another keypoint, or take another family of networks."
        )
    tree, closing = _walk(ends, skeleton.num_keypoints)
    return Limbs((*tree, *closing), tuple(range(len(ends))), len(closing))


def _walk(ends: tuple[tuple[int, int], ...], num_keypoints: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return the limbs in the order of a walk over the skeleton, each away from its start, and those that are left."""
    left = list(ends)
    degree = [sum(keypoint in pair for pair in ends) for keypoint in range(num_keypoints)]
    tree: list[tuple[int, int]] = []
    reached: set[int] = set()
    for root in sorted(range(num_keypoints), key=lambda keypoint: -degree[keypoint]):
        if root in reached:
            continue
        reached.add(root)
        waiting = deque([root])
        while waiting:
            here = waiting.popleft()
            for pair in [pair for pair in left if here in pair]:
                there = pair[1] if pair[0] == here else pair[0]
                if there not in reached:
                    left.remove(pair)
                    tree.append((here, there))
                    reached.add(there)
                    waiting.append(there)
    return tree, left
