"""Which keypoints exist, in which order, how they mirror, connect and how exactly they can be placed.

Sources: COCO 2017 person keypoints (names, sigmas); CrowdPose (sigmas of crowdposetools); MPII as
HRNet orders it (sigmas as mmpose adapts them); OpenPose's 18 as Lightweight OpenPose orders them.
Keypoint names are the same in every skeleton, so weights and annotations of one serve another by name.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import SkeletonError, nearest_name

FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
DEFAULT_OKS_SIGMA = 0.079  # COCO's shoulder: neither as exact as an eye nor as vague as a hip

# Spellings found in annotation files, in small letters joined by "_" -> the one name used here.
ALIASES = {"head": "head_top", "top_head": "head_top", "upper_neck": "neck"}
SIDED_PARTS = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")  # named left_eye, however spelled
OPPOSITES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_SIDE = re.compile(r"(?<![^_])(left|right|l|r)(?![^_])")  # a word of its own
_GLUED_SIDE = re.compile(r"^(?:left|right)|(?:left|right)$")
_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=^[LR])(?=[A-Z][a-z])")  # leftHand, LHand


@dataclass(frozen=True)
class Skeleton:
    """Named keypoints with their limbs, mirror pairs and OKS sigmas.

    limbs, mirror: pairs of keypoint names; a keypoint in no mirror pair mirrors to itself.
    oks_sigmas: one for each keypoint, as a share of the square root of the person's area.
    Raises SkeletonError where the parts contradict each other.
    """

    name: str
    keypoints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...] = ()
    oks_sigmas: tuple[float, ...] = ()
    mirror: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.keypoints:
            raise SkeletonError(f"Skeleton {self.name!r} has no keypoints. Name at least one.")
        repeated = {name for name in self.keypoints if self.keypoints.count(name) > 1}
        if repeated:
            raise SkeletonError(
                f"Skeleton {self.name!r} names {sorted(repeated)} more than once. "
                "Each keypoint needs a name of its own."
            )
        for pair in (*self.limbs, *self.mirror):
            for keypoint in pair:
                if keypoint not in self.keypoints:
                    raise SkeletonError(
                        f"Skeleton {self.name!r}: pair {pair} names {keypoint!r}, which is no "
                        f"keypoint of it. {nearest_name(keypoint, self.keypoints)}"
                    )
        if not self.oks_sigmas:
            warnings.warn(
                f"Skeleton {self.name!r} states no OKS sigmas; {DEFAULT_OKS_SIGMA} is used for each "
                "keypoint, so its AP compares with no published one.",
                stacklevel=3,
            )
            object.__setattr__(self, "oks_sigmas", (DEFAULT_OKS_SIGMA,) * len(self.keypoints))
        if len(self.oks_sigmas) != len(self.keypoints) or min(self.oks_sigmas) <= 0:
            raise SkeletonError(
                f"Skeleton {self.name!r} has {len(self.keypoints)} keypoints and the OKS sigmas "
                f"{self.oks_sigmas}. Give one positive sigma for each keypoint."
            )

    @property
    def num_keypoints(self) -> int:
        return len(self.keypoints)

    @property
    def limb_indices(self) -> tuple[tuple[int, int], ...]:
        """The limbs as pairs of 0-based keypoint indices."""
        return tuple((self.index(a), self.index(b)) for a, b in self.limbs)

    @cached_property
    def mirror_indices(self) -> np.ndarray:
        """For each keypoint of a mirrored picture, which keypoint it was: (K,) int64, not to be written to."""
        order = np.arange(self.num_keypoints)
        for a, b in self.mirror:
            order[self.index(a)], order[self.index(b)] = self.index(b), self.index(a)
        order.setflags(write=False)
        return order

    def index(self, keypoint: str) -> int:
        """Return the 0-based position of `keypoint` (aliases count). Raises SkeletonError."""
        name = canonical_name(keypoint)
        if name not in self.keypoints:
            raise SkeletonError(
                f"Skeleton {self.name!r} has no keypoint {keypoint!r}. {nearest_name(name, self.keypoints)}"
            )
        return self.keypoints.index(name)

    def positions_in(self, other: Skeleton) -> np.ndarray:
        """For each keypoint here, its index in `other`, or -1 where `other` has none: (K,) int64."""
        lookup = {name: i for i, name in enumerate(other.keypoints)}
        return np.array([lookup.get(name, -1) for name in self.keypoints], dtype=np.int64)

    def to_json(self) -> dict[str, Any]:
        """Return the skeleton as plain lists and strings."""
        return {
            "name": self.name,
            "keypoints": list(self.keypoints),
            "limbs": [list(pair) for pair in self.limbs],
            "oks_sigmas": list(self.oks_sigmas),
            "mirror": [list(pair) for pair in self.mirror],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Skeleton:
        """Build a skeleton from `to_json`'s mapping. Raises SkeletonError."""
        if not isinstance(data, Mapping) or not isinstance(data.get("keypoints"), list):
            raise SkeletonError(
                'A skeleton needs at least {"name": ..., "keypoints": [names]}; '
                f"found {type(data).__name__} with {sorted(data) if data else 'nothing'}."
            )
        known = {"name", "keypoints", "limbs", "oks_sigmas", "mirror"}
        for key in data:
            if key not in known:
                raise SkeletonError(f"A skeleton has no field {key!r}. {nearest_name(key, known)}")
        try:
            return cls(
                name=str(data.get("name", "custom")),
                keypoints=tuple(canonical_name(str(name)) for name in data["keypoints"]),
                limbs=_name_pairs(data.get("limbs", ())),
                oks_sigmas=tuple(float(sigma) for sigma in data.get("oks_sigmas", ())),
                mirror=_name_pairs(data.get("mirror", ())),
            )
        except (TypeError, ValueError) as error:
            raise SkeletonError(
                f"Skeleton {data.get('name')!r} cannot be read: {error}. Limbs and mirror are pairs "
                "of keypoint names, oks_sigmas are numbers."
            ) from error


@lru_cache(maxsize=1024)
def canonical_name(keypoint: str) -> str:
    """Return the name used here for a data set's spelling of a keypoint.

    Words may be joined by " ", "-", "." or "_", or be told apart by capitals; a side may stand anywhere, as l or r too:
    "LShoulder", "shoulder_l" and "Shoulder left" are left_shoulder. What is no keypoint of a built-in skeleton keeps
    its words.
    """
    name = re.sub(r"[\s.-]+", "_", _WORD_BORDER.sub("_", keypoint.strip()).lower())
    name = ALIASES.get(name, name)
    side, part = keypoint_side(name), _SIDE.sub("", name).strip("_")
    return f"{side}_{part}" if side and part in SIDED_PARTS else name


@lru_cache(maxsize=1024)
def keypoint_side(keypoint: str) -> str | None:
    """Return "left" or "right" where one word of a keypoint's name is a side ("hand_l", "front_left_paw")."""
    sides = _SIDE.findall(keypoint)
    return {"l": "left", "r": "right"}[sides[0][0]] if len(sides) == 1 else None


def mirror_pairs(keypoints: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the pairs (left, right) whose names say that they mirror: they differ in the side and in nothing else."""
    lefts = [name for name in keypoints if _side_text(name).startswith("l")]
    return tuple((name, other) for name in lefts if (other := _opposite(name)) in keypoints)


def one_sided(keypoints: Sequence[str]) -> tuple[str, ...]:
    """Return the keypoints that have a side in their names while the one of the other side is missing."""
    return tuple(name for name in keypoints if keypoint_side(name) and _opposite(name) not in keypoints)


def _opposite(keypoint: str) -> str:
    """Return what the keypoint of the other side, of one whose name has a side, would be called."""
    pattern = _SIDE if keypoint_side(keypoint) else _GLUED_SIDE
    return pattern.sub(OPPOSITES[_side_text(keypoint)], keypoint, count=1)


def _side_text(keypoint: str) -> str:
    """Return the side in a keypoint's name as it is written there; glued to another word ("lefthand") it counts too."""
    found = _SIDE.findall(keypoint) if keypoint_side(keypoint) else _GLUED_SIDE.findall(keypoint)
    return found[0] if len(found) == 1 else ""


def load_skeleton(name_or_path: str | Path) -> Skeleton:
    """Return a built-in skeleton by name, or read one from a JSON file. Raises SkeletonError."""
    name = str(name_or_path)
    if name in SKELETONS:
        return SKELETONS[name]
    path = Path(name)
    if not path.is_file():
        raise SkeletonError(
            f"No skeleton {name!r}: neither built in nor a file. {nearest_name(name, SKELETONS)} "
            "Or give the path of a JSON file."
        )
    try:
        return Skeleton.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise SkeletonError(f"Skeleton file {path} is no JSON: {error}.") from error


def _name_pairs(pairs: Any) -> tuple[tuple[str, str], ...]:
    return tuple((canonical_name(str(a)), canonical_name(str(b))) for a, b in pairs)


def _sides(*parts: str) -> tuple[str, ...]:
    return tuple(f"{side}_{part}" for part in parts for side in ("left", "right"))


def _mirror(*parts: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"left_{part}", f"right_{part}") for part in parts)


_LIMB_PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_BODY_LIMBS = (
    ("left_ankle", "left_knee"), ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"), ("right_knee", "right_hip"),
    ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
)  # fmt: skip
_TORSO_LIMBS = (
    ("left_hip", "right_hip"), ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"), ("left_shoulder", "right_shoulder"),
)  # fmt: skip
_FACE_LIMBS = (
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
)

COCO17 = Skeleton(
    name="coco17",
    keypoints=("nose", *_sides("eye", "ear", *_LIMB_PARTS)),
    limbs=(*_BODY_LIMBS, *_TORSO_LIMBS, *_FACE_LIMBS, ("left_eye", "right_eye"),
           ("left_ear", "left_shoulder"), ("right_ear", "right_shoulder")),
    oks_sigmas=(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072,
                0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
    mirror=_mirror("eye", "ear", *_LIMB_PARTS),
)  # fmt: skip

CROWDPOSE14 = Skeleton(
    name="crowdpose14",
    keypoints=(*_sides(*_LIMB_PARTS), "head_top", "neck"),
    limbs=(*_BODY_LIMBS, *_TORSO_LIMBS[:3], ("head_top", "neck"),
           ("neck", "left_shoulder"), ("neck", "right_shoulder")),
    oks_sigmas=(0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079),
    mirror=_mirror(*_LIMB_PARTS),
)  # fmt: skip

MPII16 = Skeleton(
    name="mpii16",
    keypoints=("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle", "pelvis", "thorax",
               "neck", "head_top", "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow",
               "left_wrist"),
    limbs=(*_BODY_LIMBS, ("left_hip", "pelvis"), ("right_hip", "pelvis"), ("pelvis", "thorax"), ("thorax", "neck"),
           ("neck", "head_top"), ("thorax", "left_shoulder"), ("thorax", "right_shoulder")),
    oks_sigmas=(0.089, 0.083, 0.107, 0.107, 0.083, 0.089, 0.026, 0.026, 0.026, 0.026, 0.062, 0.072, 0.179, 0.179,
                0.072, 0.062),
    mirror=_mirror(*_LIMB_PARTS),
)  # fmt: skip

OPENPOSE18 = Skeleton(
    name="openpose18",
    keypoints=("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
               "left_wrist", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
               "right_eye", "left_eye", "right_ear", "left_ear"),
    limbs=(*_BODY_LIMBS, *_FACE_LIMBS, ("neck", "nose"), ("neck", "left_shoulder"), ("neck", "right_shoulder"),
           ("neck", "left_hip"), ("neck", "right_hip")),
    oks_sigmas=(0.026, 0.079, 0.079, 0.072, 0.062, 0.079, 0.072, 0.062, 0.107, 0.087, 0.089, 0.107, 0.087, 0.089,
                0.025, 0.025, 0.035, 0.035),
    mirror=_mirror("eye", "ear", *_LIMB_PARTS),
)  # fmt: skip

SKELETONS = {skeleton.name: skeleton for skeleton in (COCO17, CROWDPOSE14, MPII16, OPENPOSE18)}
