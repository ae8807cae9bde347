"""Cut-out people in other real poses: each limb of a photographed person is moved to where another person's limb was.

A few hundred cut-outs hold a few hundred poses; with their parts moved they take any of the poses that annotations
without pictures list (156,165 of them in COCO). The torso follows its four corners, an arm or a leg its keypoints, the
head the shoulders and the other person's face; widths go with the torso, so nobody gets fat arms from stretching. The
labels are the moved keypoints, exact by construction. (Cut-out limbs as training data: Pishchulin et al. 2012,
"Articulated people detection and pose estimation: reshaping the future", for the idea.)

Only whole people who are seen from roughly the same side as the pose can be moved: mirrored sides, much narrower
shoulders or a limb that points to the camera in one of the two are refused, and the person stays as photographed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from litepose.datasets.masks import HEAD_WIDTH, LIMB_WIDTH, torso_length
from litepose.datasets.synthetic.pose_files import PoseFile
from litepose.geometry import Warp, boxes_of_keypoints
from litepose.poses import Sample
from litepose.skeleton import COCO17

CORNERS = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
LIMBS = tuple(
    (f"{side}_{upper}", f"{side}_{lower}")
    for side in ("left", "right")
    for upper, lower in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
)
ENDS = tuple(f"{side}_{part}" for side in ("left", "right") for part in ("elbow", "wrist", "knee", "ankle"))
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
WIDTH_RATIO = 1.5  # of shoulders over torso length, between the two people, at most
LENGTH_RATIO = 1.7  # of a limb over the torso length, likewise
SHORTEST = 0.22  # of the torso length: a shorter limb points to the camera, its picture cannot be stretched
FLATTEST = 0.3  # shoulders over torso length: below, the person stands sideways and left covers right
TORSO_STRETCH = 1.6  # in any direction, at most
ROOM = 0.5  # of a limb's width (LIMB_WIDTH): how near another limb may come to a limb's middle
LARGEST_TILT_DEG = 50.0  # of a head against the torso
END_GROWTH = 0.9  # of a limb's half width: the disc at its ends that both parts keep, so that no gap opens
CORE = 0.35  # of a limb's width: so far from its bone a pixel is the limb's, also in front of the torso
EDGE_PX = 0.7  # softness of the pieces' edges
ARM, LEG = ("elbow", "wrist"), ("knee", "ankle")
TRIES = 60  # poses; about one in ten fits a person
LARGEST_LOOK = 0.25  # of the shoulders' width: how much further a face may look to one side in the pose


@dataclass(frozen=True)
class Cutout:
    """One person in a crop: the sample holds it alone; `alpha` (h, w) float32 0-1 says where it is."""

    sample: Sample
    alpha: np.ndarray


@dataclass(frozen=True)
class _Part:
    """A piece of the person: where it is in the crop (h, w) bool, its picture, and the (2, 3) matrix that moves it."""

    mask: np.ndarray
    picture: np.ndarray
    matrix: np.ndarray


Points = Mapping[str, np.ndarray]


def repose(cutout: Cutout, poses: PoseFile, rng: np.random.Generator) -> Cutout | None:
    """Return the person in a random pose of the file, upright as that pose is; None where none of a few fits.

    The torso keeps its length; picture, mask, keypoints, box and area are new. Keypoints that the file calls hidden
    (visible 1) are drawn behind the torso and labelled so.
    """
    sample = cutout.sample
    seen = sample.keypoints[0, :, 2] > 1.5
    names = sample.skeleton.keypoints
    points = {name: sample.keypoints[0, k, :2].astype(np.float64) for k, name in enumerate(names) if seen[k]}
    if not all(name in points for name in (*CORNERS, *ENDS)) or not len(poses.whole) or not _apart(cutout, points):
        return None
    for _ in range(TRIES):
        pose = poses.keypoints[int(rng.choice(poses.whole))]
        wanted = {name: pose[k, :2].astype(np.float64) for k, name in enumerate(COCO17.keypoints) if pose[k, 2] > 0}
        if not all(name in wanted for name in (*CORNERS, *ENDS)) or not _alike(points, wanted):
            continue
        factor = torso_length(dict(points)) / torso_length(wanted)
        wanted = {name: point * factor for name, point in wanted.items()}
        stretch = np.linalg.svd(_corners_matrix(points, wanted)[:, :2], compute_uv=False)
        if stretch[0] > TORSO_STRETCH or stretch[1] < 1 / TORSO_STRETCH:
            continue
        behind = {name for k, name in enumerate(COCO17.keypoints) if pose[k, 2] == 1}
        return _moved(cutout, points, wanted, behind)
    return None


def _apart(cutout: Cutout, points: Points) -> bool:
    """Say whether every limb is seen by itself: its middle on the person, and no other limb near to that."""
    solid = cutout.alpha > 0.5
    middles = np.array([0.5 * (points[a] + points[b]) for a, b in LIMBS])
    at = np.rint(middles).astype(int).clip(0, np.array(solid.shape[::-1]) - 1)
    if not solid[at[:, 1], at[:, 0]].all():
        return False
    room = np.stack([_to_bone(middles, points[a], points[b]) for a, b in LIMBS])
    np.fill_diagonal(room, np.inf)
    return bool(room.min() > ROOM * LIMB_WIDTH * torso_length(dict(points)))


def _alike(one: Points, other: Points) -> bool:
    """Say whether the first person's parts can be moved to the second's places without being torn."""
    scales = torso_length(dict(one)), torso_length(dict(other))
    (width, facing), (other_width, other_facing) = (_shoulders(p, s) for p, s in zip((one, other), scales, strict=True))
    if facing != other_facing or min(width, other_width) < FLATTEST:
        return False
    if max(width, other_width) > WIDTH_RATIO * min(width, other_width):
        return False
    if not _convex(other) or not _convex(one):
        return False
    looks = _looks(one), _looks(other)
    if None not in looks and abs(looks[0] - looks[1]) > LARGEST_LOOK:  # type: ignore[operator]
        return False
    for a, b in LIMBS:
        lengths = [float(np.hypot(*(p[a] - p[b]))) / s for p, s in zip((one, other), scales, strict=True)]
        if min(lengths) < SHORTEST or max(lengths) > LENGTH_RATIO * min(lengths):
            return False
    return abs(_head_turn(one, other)) < LARGEST_TILT_DEG


def _shoulders(points: Points, scale: float) -> tuple[float, bool]:
    """Return the shoulders' width over the torso length, and whether the left one is on the picture's right side.

    Both are measured across the torso's own axis, so a person who leans or lies is judged like one who stands.
    """
    up = _middle(points, "shoulder") - _middle(points, "hip")
    across = points["left_shoulder"] - points["right_shoulder"]
    return float(np.hypot(*across)) / scale, bool(across[0] * up[1] - across[1] * up[0] < 0)


def _convex(points: Points) -> bool:
    """Say whether the torso is a plain quadrilateral: shoulders and hips on the same sides."""
    corners = np.array([points[name] for name in CORNERS], dtype=np.float32)
    return bool(cv2.isContourConvex(corners.reshape(-1, 1, 2)))


def _looks(points: Points) -> float | None:
    """Return how far the face lies to the left of the shoulders' middle, in their widths; None without a face."""
    face = [points[name] for name in FACE if name in points]
    if not face:
        return None
    across = points["left_shoulder"] - points["right_shoulder"]
    offset = np.mean(face, axis=0) - _middle(points, "shoulder")
    return float(offset @ across / max(1e-6, float(across @ across)))


def _middle(points: Points, part: str) -> np.ndarray:
    return 0.5 * (points[f"left_{part}"] + points[f"right_{part}"])


def _head_turn(one: Points, other: Points) -> float:
    """Return by how many degrees the second person's head leans further from the torso's axis than the first's."""
    leans = []
    for points in (one, other):
        up = _middle(points, "shoulder") - _middle(points, "hip")
        face = [points[name] for name in (*FACE, "head_top") if name in points]
        if not face:
            return 0.0
        to_head = np.mean(face, axis=0) - _middle(points, "shoulder")
        leans.append(np.degrees(np.arctan2(to_head[1], to_head[0]) - np.arctan2(up[1], up[0])))
    return float((leans[1] - leans[0] + 180) % 360 - 180)


def _moved(cutout: Cutout, points: Points, wanted: Points, behind: set[str]) -> Cutout:
    parts = _parts(cutout, points, wanted)
    low, high = _extent(parts.values())
    shift = 2 - low
    size = int(np.ceil(high[0] - low[0])) + 4, int(np.ceil(high[1] - low[1])) + 4
    image = np.zeros((size[1], size[0], 3), np.float32)  # times its alpha
    alpha = np.zeros((size[1], size[0]), np.float32)
    warps = {
        name: Warp(np.column_stack([part.matrix[:, :2], part.matrix[:, 2] + shift]), size)
        for name, part in parts.items()
    }
    for name in _from_behind(behind):
        cover = warps[name].image(cv2.GaussianBlur(parts[name].mask.astype(np.float32), (0, 0), EDGE_PX))
        image *= (1 - cover)[..., None]
        image += warps[name].image(parts[name].picture).astype(np.float32) * cover[..., None]
        alpha += cover * (1 - alpha)
    drawn = np.divide(image, alpha[..., None], out=np.zeros_like(image), where=alpha[..., None] > 1e-3)
    moved = replace(
        _labelled(cutout.sample, warps, behind),
        image=np.clip(drawn + 0.5, 0, 255).astype(np.uint8),
        areas=np.array([(alpha > 0.5).sum()], dtype=np.float32),
    )
    return Cutout(moved, alpha)


def _from_behind(behind: set[str]) -> list[str]:
    """Return the parts' names in the order of drawing: what the pose hides, legs, torso, head, arms."""
    limbs = [lower for _, lower in LIMBS]
    hidden = [name for name in limbs if name in behind]
    legs, arms = ([n for n in limbs if n not in behind and n.endswith(ends)] for ends in (LEG, ARM))
    return [*hidden, *legs, "torso", "head", *arms]


def _labelled(sample: Sample, warps: Mapping[str, Warp], behind: set[str]) -> Sample:
    keypoints = sample.keypoints.copy()
    for k, name in enumerate(sample.skeleton.keypoints):
        part = name if name in warps else "torso" if name in CORNERS else "head"
        if keypoints[0, k, 2] > 0:
            keypoints[0, k, :2] = warps[part].points(keypoints[0, k, :2])
        if name in behind and name in warps:
            keypoints[0, k, 2] = 1
    boxes = boxes_of_keypoints(keypoints[..., :2], keypoints[..., 2] > 0)
    return replace(sample, keypoints=keypoints, boxes=boxes, ignore=None)


def _parts(cutout: Cutout, points: Points, wanted: Points) -> dict[str, _Part]:
    """Return torso, head and each limb's piece (by its lower keypoint's name), each pixel the nearest bone's."""
    solid = cutout.alpha > 0.5
    scale = torso_length(dict(points))
    rows, columns = np.nonzero(solid)
    pixels = np.stack([columns, rows], axis=1).astype(np.float64)
    corners = np.array([points[name] for name in CORNERS])
    hull = np.zeros(solid.shape, np.uint8)
    cv2.fillConvexPoly(hull, np.rint(corners).astype(np.int32), 1)
    names = ["torso", "head", *(lower for _, lower in LIMBS)]
    distances = [cv2.distanceTransform(1 - hull, cv2.DIST_L2, 3)[rows, columns], _to_head(pixels, points, scale)]
    distances += [_to_bone(pixels, points[a], points[b]) - CORE * LIMB_WIDTH * scale for a, b in LIMBS]
    nearest = np.argmin(distances, axis=0)
    image = cutout.sample.image
    radius = max(1, round(END_GROWTH * LIMB_WIDTH * 0.5 * scale))
    torso = _corners_matrix(points, wanted)
    places = _carried(points, wanted, torso)
    parts = {}
    for k, name in enumerate(names):
        mask = np.zeros_like(solid)
        mask[rows, columns] = nearest == k
        parts[name] = _Part(mask, image, torso if name == "torso" else _head_matrix(points, places))
    for a, b in LIMBS:
        discs = np.zeros(solid.shape, np.uint8)
        for end in (a, b):
            cv2.circle(discs, tuple(np.rint(points[end]).astype(int).tolist()), radius, 1, -1)
        mask = parts[b].mask | ((discs > 0) & solid)
        parts[b] = _Part(mask, image, _bone_matrix(points[a], points[b], places[a], places[b]))
    return parts | {"torso": _filled(parts["torso"], hull > 0)}


def _carried(points: Points, wanted: Points, torso: np.ndarray) -> dict[str, np.ndarray]:
    """Return the wanted places with each limb moved along with its torso corner, which does not fit exactly."""
    places = {name: torso[:, :2] @ points[name] + torso[:, 2] for name in CORNERS}
    for a, b in LIMBS:  # upper limbs come before lower ones
        places[b] = places[a] + (wanted[b] - wanted[a])
    return {**wanted, **places}


def _filled(torso: _Part, hull: np.ndarray) -> _Part:
    """Return the torso without the holes that arms in front of it leave: their place takes the colours around."""
    hole = hull & ~torso.mask
    if not hole.any() or not torso.mask.any():
        return torso
    around = cv2.dilate(hole.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    unknown = (around & ~torso.mask).astype(np.uint8)
    return _Part(torso.mask | hull, cv2.inpaint(torso.picture, unknown, 3, cv2.INPAINT_TELEA), torso.matrix)


def _to_head(pixels: np.ndarray, points: Points, scale: float) -> np.ndarray:
    """Distances to the head's disc and the neck, so that a hand beside the face stays a hand."""
    neck = _middle(points, "shoulder")
    face = [points[name] for name in FACE if name in points]
    if face:
        centre = np.mean(face, axis=0)
    elif "head_top" in points:
        centre = 0.55 * points["head_top"] + 0.45 * neck
    else:
        centre = neck + 0.45 * (neck - _middle(points, "hip"))
    disc = np.hypot(*(pixels - centre).T) - HEAD_WIDTH * scale
    return np.maximum(np.minimum(disc, _to_bone(pixels, neck, centre)), 0.0)


def _to_bone(pixels: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    along = b - a
    share = np.clip((pixels - a) @ along / max(1e-6, float(along @ along)), 0, 1)
    return np.hypot(*(pixels - a - share[:, None] * along).T)


def _corners_matrix(points: Points, wanted: Points) -> np.ndarray:
    """Return the affine map whose corners come nearest to the wanted ones (least squares)."""
    source = np.array([[*points[name], 1.0] for name in CORNERS])
    target = np.array([wanted[name] for name in CORNERS])
    return np.linalg.lstsq(source, target, rcond=None)[0].T


def _bone_matrix(a: np.ndarray, b: np.ndarray, to_a: np.ndarray, to_b: np.ndarray) -> np.ndarray:
    """Return the map of a bone onto another: stretched along it, as wide as before."""
    along, to_along = b - a, to_b - to_a
    length, to_length = np.hypot(*along), np.hypot(*to_along)
    u, v = along / length, to_along / to_length
    across, to_across = np.array([-u[1], u[0]]), np.array([-v[1], v[0]])
    linear = np.outer(v, u) * (to_length / length) + np.outer(to_across, across)
    return np.column_stack([linear, to_a - linear @ a])


def _head_matrix(points: Points, wanted: Points) -> np.ndarray:
    """Return the map of the head: turned as torso and face ask for, in its size, its neck between the shoulders."""
    axes = [_middle(p, "shoulder") - _middle(p, "hip") for p in (points, wanted)]
    torso_turn = np.arctan2(axes[1][1], axes[1][0]) - np.arctan2(axes[0][1], axes[0][0])
    angle = float(torso_turn + np.radians(_head_turn(points, wanted)))
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([linear, _middle(wanted, "shoulder") - linear @ _middle(points, "shoulder")])


def _extent(parts: Iterable[_Part]) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest and highest x, y that the moved pieces reach."""
    reached = []
    for part in parts:
        rows, columns = np.flatnonzero(part.mask.any(axis=1)), np.flatnonzero(part.mask.any(axis=0))
        if len(rows):
            box = np.array([(x, y) for x in columns[[0, -1]] for y in rows[[0, -1]]], dtype=np.float64)
            reached.append(box @ part.matrix[:, :2].T + part.matrix[:, 2])
    corners = np.concatenate(reached)
    return corners.min(axis=0), corners.max(axis=0)
