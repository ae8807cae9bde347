"""Tags matched limb by limb: the decoding of DaniAffCH/litepose-pose-estimation@3e45d28 (lp_inference/lp_inference.py).

Heat and tags of all outputs are averaged and divided by their largest value, so the strongest peak always counts 1 and
a threshold is a share of it: an empty picture shows noise, and the tags of a single person are noise made large. Kept
because its thresholds depend on it. For each limb on its own, each peak of one end takes the peak of the other with the
nearest tag. The original stops at these segments; `unite` makes people of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from litepose.codecs.ae_maps import AEMaps, ChannelLayout, upright
from litepose.codecs.base import Pass, check_finite
from litepose.codecs.grouping import Candidates
from litepose.codecs.maps import resize_maps
from litepose.skeleton import Skeleton

# The original's limbs in its order; the second end is looked for from the first.
CROWDPOSE_LIMBS = (
    ("head_top", "neck"), ("neck", "left_shoulder"), ("neck", "right_shoulder"), ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"), ("left_hip", "right_hip"),
    ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
    ("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
)  # fmt: skip


def limbs_of(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """Return the limbs that are matched: the original's where the skeleton has their ends, else the skeleton's own."""
    if {end for limb in CROWDPOSE_LIMBS for end in limb} <= set(skeleton.keypoints):
        return tuple((skeleton.index(a), skeleton.index(b)) for a, b in CROWDPOSE_LIMBS)
    return skeleton.limb_indices


def merge_normalised(
    passes: Sequence[Pass], layout: ChannelLayout, mirror: np.ndarray | None, size: tuple[int, int]
) -> AEMaps:
    """Average maps enlarged straight to the input's `size` (w, h), and divide them by their largest value.

    Mirrored passes and other scales, which the original lacks: heat is averaged over all of them; tags come from the
    scale nearest 1, each pass as a dimension of its own. Raises ModelError where maps are not finite.
    """
    heats = [
        resize_maps(upright(layout.heatmaps(output, one.outputs[output]), one.mirrored, mirror), size)
        for one in passes
        for output in np.flatnonzero(layout.heatmap_outputs).tolist()
    ]
    nearest = min((one.scale for one in passes), key=lambda scale: abs(scale - 1))
    order = mirror if layout.tag_per_keypoint else None
    tags = []
    for one in sorted((one for one in passes if one.scale == nearest), key=lambda one: one.mirrored):
        of_outputs = [
            resize_maps(upright(layout.tags(output, one.outputs[output]), one.mirrored, order), size)
            for output in np.flatnonzero(layout.tag_outputs).tolist()
        ]
        tags.append(_normalised(sum(of_outputs, start=np.zeros((), np.float32)) / np.float32(len(of_outputs)), "tags"))
    heat = _normalised(sum(heats, start=np.zeros((), np.float32)) / np.float32(len(heats)), "heatmaps")
    return AEMaps(heat, np.stack(tags), size)


def _normalised(maps: np.ndarray, what: str) -> np.ndarray:
    check_finite(maps, what)
    largest = maps.max()
    return maps / largest if largest > 0 else maps


def match_limbs(candidates: Candidates, limbs: Sequence[tuple[int, int]], threshold: float) -> np.ndarray:
    """Return the limbs found: (E, 3) int64: number of the limb, candidate of its first end, of its second.

    threshold: ends whose tags differ by less belong together. Of each limb, the first ends come by descending heat, and
    each takes the nearest second end that is left.
    """
    edges = []
    for number, (first, second) in enumerate(limbs):
        left = np.flatnonzero(candidates.keypoints == second).tolist()
        for a in np.flatnonzero(candidates.keypoints == first).tolist():
            if not left:
                break
            distances = np.linalg.norm(candidates.tags[left] - candidates.tags[a], axis=1)
            nearest = int(distances.argmin())
            if distances[nearest] < threshold:
                edges.append((number, a, left.pop(nearest)))
    return np.array(edges, dtype=np.int64).reshape(-1, 3)


def unite(candidates: Candidates, edges: np.ndarray, num_keypoints: int) -> np.ndarray:
    """Return the people that limbs make: (N, K) int64, a candidate for each keypoint or -1.

    A limb joins the people of its ends unless both already have a keypoint of the same kind.
    """
    people: dict[int, dict[int, int]] = {}
    owner: dict[int, int] = {}
    for _, *ends in edges.tolist():
        for end in ends:
            if end not in owner:
                owner[end] = len(owner)
                people[owner[end]] = {int(candidates.keypoints[end]): end}
        a, b = (owner[end] for end in ends)
        if a != b and not people[a].keys() & people[b].keys():
            people[a] |= people.pop(b)
            owner.update(dict.fromkeys(people[a].values(), a))
    whole = [person for person in people.values() if len(person) > 1]
    rows = np.full((len(whole), num_keypoints), -1, dtype=np.int64)
    for row, person in zip(rows, whole, strict=True):
        row[list(person)] = list(person.values())
    return rows
