"""From annotated 2D keypoints to a figure that can be drawn: missing ones completed, depth guessed.

The drawn body goes through the given shoulders, elbows, wrists, hips, knees and ankles. What was not annotated is
completed the way bodies are built; a bone that looks shorter than it is goes into the depth, by simple rules: people
lean, reach and step forwards. The head is the pose of the head template that fits face and neck best.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from litepose.datasets.synthetic.body import (
    HEAD_PLACES,
    INDEX,
    POINTS,
    SIDES,
    Figure,
    Proportions,
    place_head,
    random_proportions,
    turn,
    unit_vector,
)
from litepose.skeleton import COCO17, FACE

# Bones whose apparent length tells the size of the person, with their share of the standing height.
_MEASURES = (
    ("left_shoulder", "left_hip", "torso"), ("right_shoulder", "right_hip", "torso"),
    ("left_shoulder", "right_shoulder", "shoulder"), ("left_shoulder", "left_elbow", "upper_arm"),
    ("right_shoulder", "right_elbow", "upper_arm"), ("left_elbow", "left_wrist", "forearm"),
    ("right_elbow", "right_wrist", "forearm"), ("left_hip", "left_knee", "thigh"), ("right_hip", "right_knee", "thigh"),
    ("left_knee", "left_ankle", "calf"), ("right_knee", "right_ankle", "calf"),
)  # fmt: skip
_Known = dict[str, np.ndarray]


def lift_person(rng: np.random.Generator, keypoints: np.ndarray) -> Figure | None:
    """Return a figure in picture px for COCO keypoints (17, 3), or None where its size cannot be told."""
    known = {
        name: keypoints[i, :2].astype(np.float64) for i, name in enumerate(COCO17.keypoints) if keypoints[i, 2] > 0
    }
    body = random_proportions(rng)
    unit = _standing_height(known, body)
    if unit is None:
        return None
    seen_face = [name for name in FACE[:3] if name in known]
    _complete_trunk(known, body, unit, bool(seen_face))
    _complete_limbs(rng, known, body, unit)
    places = np.zeros((len(POINTS), 3))
    for name, place in known.items():
        places[INDEX[name], :2] = place
    _guess_depths(rng, places, known, body, unit)
    _add_middle(places, body, unit)
    chest, pelvis = _frame(places, "shoulder"), _frame(places, "hip")
    head = _fit_head(places, known, chest, body, unit)
    _add_ends(places, chest, body, unit)
    return Figure(places, chest, pelvis, head, body, unit)


def mirrored(keypoints: np.ndarray, width: float) -> np.ndarray:
    """Return people (N, 17, 3) as in the mirrored picture."""
    flipped = keypoints[:, COCO17.mirror_indices].copy()
    flipped[..., 0] = np.where(flipped[..., 2] > 0, width - 1 - flipped[..., 0], 0)
    return flipped


def _standing_height(known: _Known, body: Proportions) -> float | None:
    """Return the standing height in px: bones look shorter than they are, never longer, so the longest tell."""
    heights = []
    for a, b, bone in _MEASURES:
        if a in known and b in known:
            share = getattr(body, bone) * (2 if bone == "shoulder" else 1)
            heights.append(float(np.linalg.norm(known[a] - known[b])) / share)
    heights.sort(reverse=True)
    if not heights or heights[0] < 8:
        return None
    return float(np.mean(heights[:3])) if len(heights) > 2 else heights[0]


def _complete_trunk(known: _Known, body: Proportions, unit: float, faces_us: bool) -> None:
    """Fill in missing shoulders and hips."""
    sign = 1.0 if faces_us else -1.0
    down = _trunk_direction(known)
    across = np.array([down[1], -down[0]]) * sign  # towards the person's left
    for part, other_part, half in (("shoulder", "hip", body.shoulder), ("hip", "shoulder", body.hip)):
        left, right = known.get(f"left_{part}"), known.get(f"right_{part}")
        if left is not None and right is not None:
            continue
        other = [known[name] for name in (f"left_{other_part}", f"right_{other_part}") if name in known]
        wide = _apparent(known, other_part, across) * half / (body.hip if part == "shoulder" else body.shoulder)
        wide = wide if wide else 2 * half * unit * 0.7
        if left is None and right is None:
            length = body.torso * unit * (1 if part == "hip" else -1)
            middle = np.mean(other, axis=0) + down * length
            known[f"left_{part}"] = middle + across * wide / 2
            known[f"right_{part}"] = middle - across * wide / 2
        elif left is None and right is not None:
            known[f"left_{part}"] = right + across * wide
        elif left is not None:
            known[f"right_{part}"] = left - across * wide


def _trunk_direction(known: _Known) -> np.ndarray:
    """Return the unit vector from the shoulders to the hips, in the picture."""
    middles = {
        part: [known[f"{side}_{part}"] for side in SIDES if f"{side}_{part}" in known] for part in ("shoulder", "hip")
    }
    if middles["shoulder"] and middles["hip"]:
        way = np.mean(middles["hip"], axis=0) - np.mean(middles["shoulder"], axis=0)
        if np.linalg.norm(way) > 2:
            return way / np.linalg.norm(way)
    face = [known[name] for name in FACE if name in known]
    if face and middles["shoulder"]:
        way = np.mean(middles["shoulder"], axis=0) - np.mean(face, axis=0)
        way = way / max(float(np.linalg.norm(way)), 1e-6) + np.array([0, 1.0])
        return way / max(float(np.linalg.norm(way)), 1e-6)
    return np.array([0.0, 1.0])


def _apparent(known: _Known, part: str, across: np.ndarray) -> float:
    """Return the signed distance from right to left of a pair, 0 where it is not known."""
    left, right = known.get(f"left_{part}"), known.get(f"right_{part}")
    return 0.0 if left is None or right is None else float((left - right) @ across)


def _complete_limbs(rng: np.random.Generator, known: _Known, body: Proportions, unit: float) -> None:
    """Fill in missing elbows, wrists, knees and ankles."""
    down = _trunk_direction(known)
    for names, bones in (
        (("shoulder", "elbow", "wrist"), (body.upper_arm, body.forearm)),
        (("hip", "knee", "ankle"), (body.thigh, body.calf)),
    ):
        for side in SIDES:
            start, middle, end = (f"{side}_{name}" for name in names)
            first, second = bones[0] * unit * 0.95, bones[1] * unit * 0.95
            if middle not in known and end in known:
                known[middle] = _between(known[start], known[end], first, second, float(rng.choice((-1.0, 1.0))))
            elif middle not in known:
                known[middle] = known[start] + _swung(rng, down) * first
            if end not in known:
                way = known[middle] - known[start]
                way = way / max(float(np.linalg.norm(way)), 1e-6)
                if names[0] == "hip":  # feet hang below the knees of who sits
                    way = 0.4 * way + np.array([0.0, 0.6])
                known[end] = known[middle] + _swung(rng, way) * second


def _swung(rng: np.random.Generator, way: np.ndarray) -> np.ndarray:
    angle = math.atan2(way[1], way[0]) + float(rng.normal(0, 0.15))
    return np.array([math.cos(angle), math.sin(angle)])


def _between(a: np.ndarray, b: np.ndarray, first: float, second: float, sign: float) -> np.ndarray:
    """Return where two bones from a to b meet."""
    way = b - a
    distance = max(float(np.linalg.norm(way)), 1e-6)
    along = min(max((first**2 + distance**2 - second**2) / (2 * distance), 0.2 * distance), 0.8 * distance)
    aside = math.sqrt(max(first**2 - along**2, 0.0)) * 0.7
    return a + way / distance * along + np.array([-way[1], way[0]]) / distance * aside * sign


def _guess_depths(rng: np.random.Generator, places: np.ndarray, known: _Known, body: Proportions, unit: float) -> None:
    """Write the depth of the trunk and the limbs."""
    down = _trunk_direction(known)
    across = np.array([down[1], -down[0]])
    cosine = float(np.clip(_apparent(known, "shoulder", across) / (2 * body.shoulder * unit), -1, 1))
    sine = math.sqrt(1 - cosine**2) * _facing_side(rng, known, across)
    length = float(np.linalg.norm(_middle(known, "hip") - _middle(known, "shoulder")))
    lean = math.sqrt(max((body.torso * unit) ** 2 - length**2, 0.0)) * 0.6 * math.copysign(1.0, cosine)
    for side, sign in zip(SIDES, (1.0, -1.0), strict=True):
        places[INDEX[f"{side}_shoulder"], 2] = lean - sign * sine * body.shoulder * unit
        places[INDEX[f"{side}_hip"], 2] = -sign * sine * body.hip * unit
        arm_forwards = 1.0 if rng.random() < 0.8 else -1.0
        for names, bones, ways in (
            (("shoulder", "elbow", "wrist"), (body.upper_arm, body.forearm), (0.4 * arm_forwards, 0.9 * arm_forwards)),
            (("hip", "knee", "ankle"), (body.thigh, body.calf), (0.9, -0.8)),
        ):
            for start, end, bone, way in zip(names[:2], names[1:], bones, ways, strict=True):
                a, b = INDEX[f"{side}_{start}"], INDEX[f"{side}_{end}"]
                shown = float(np.linalg.norm(places[b, :2] - places[a, :2]))
                missing = math.sqrt(max((bone * unit) ** 2 - shown**2, 0.0))
                places[b, 2] = places[a, 2] + missing * way * (math.copysign(0.3, cosine) + 0.7 * cosine)


def _facing_side(rng: np.random.Generator, known: _Known, across: np.ndarray) -> float:
    """Say whether the person looks to the right of its own trunk's direction (1) or to the left (-1)."""
    evidence = 0.0
    ears = [known[name] for name in FACE[3:] if name in known]
    if "nose" in known:
        behind = np.mean(ears, axis=0) if ears else _middle(known, "shoulder")
        evidence += 2.0 * float((known["nose"] - behind) @ across)
    for side in SIDES:
        hip, knee, ankle = (known[f"{side}_{name}"] for name in ("hip", "knee", "ankle"))
        evidence += 0.5 * float((knee - (hip + ankle) / 2) @ across)
    return math.copysign(1.0, evidence + 1e-3 * float(rng.normal()))


def _middle(known: _Known, part: str) -> np.ndarray:
    return (known[f"left_{part}"] + known[f"right_{part}"]) / 2


def _add_middle(places: np.ndarray, body: Proportions, unit: float) -> None:
    """Write pelvis, thorax and neck."""
    for name, part in (("pelvis", "hip"), ("thorax", "shoulder")):
        places[INDEX[name]] = (places[INDEX[f"left_{part}"]] + places[INDEX[f"right_{part}"]]) / 2
    up = places[INDEX["thorax"]] - places[INDEX["pelvis"]]
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    places[INDEX["thorax"]] += up * 0.018 * unit
    places[INDEX["neck"]] = places[INDEX["thorax"]] + up * body.neck * unit


def _frame(places: np.ndarray, part: str) -> np.ndarray:
    """Return the frame (columns left, down, forward) of the chest or the pelvis."""
    down = unit_vector(places[INDEX["pelvis"]] - places[INDEX["thorax"]])
    left = places[INDEX[f"left_{part}"]] - places[INDEX[f"right_{part}"]]
    left = unit_vector(left - down * float(left @ down))
    return np.stack([left, down, np.cross(left, down)], axis=1)


def _fit_head(places: np.ndarray, known: _Known, chest: np.ndarray, body: Proportions, unit: float) -> np.ndarray:
    """Place the head so that its template fits the face, stays on the neck and turns no further than necks do."""
    names = [name for name in FACE if name in known]
    turns = _head_turns()
    frames = np.einsum("ij,njk->nik", chest if abs(chest[2, 1]) < 0.6 else _upright(chest), turns[0])
    axes = np.array(body.head) * unit
    template = np.array([HEAD_PLACES[name] for name in names]).reshape(-1, 3) * axes
    offsets = np.einsum("nij,kj->nki", frames, template)  # (T, F, 3) from the head's centre
    seat = places[INDEX["neck"]] - frames[:, :, 1] * (0.8 * axes[1]) + frames[:, :, 2] * 0.010 * unit
    cost = turns[1].copy()
    centre = seat
    if names:
        target = np.array([known[name] for name in names])
        pull = 0.25 * len(names)
        centre = seat.copy()
        centre[:, :2] = (seat[:, :2] * pull + (target[None] - offsets[..., :2]).sum(axis=1)) / (pull + len(names))
        misfit = ((centre[:, None, :2] + offsets[..., :2] - target) ** 2).sum(axis=(1, 2)) / axes[1] ** 2
        stretch = ((centre[:, :2] - seat[:, :2]) ** 2).sum(axis=1) / axes[1] ** 2
        away = np.clip(-offsets[..., 2] / axes[1] - 0.1, 0, 1).sum(axis=1)  # annotated, so probably seen
        cost = cost + 4 * misfit + stretch + 2 * away
    unseen = [name for name in FACE[:3] if name not in names]
    if len(unseen) == 3:
        cost = cost + 3 * np.clip(frames[:, 2, 2], 0, 1)  # no face was annotated: it is turned away
    best = int(cost.argmin())
    place_head(places, body, frames[best], centre[best], unit)
    return frames[best]


def _upright(chest: np.ndarray) -> np.ndarray:
    """Return the chest's frame with its spine in the picture plane: a head stays up when the body bends."""
    down = unit_vector(chest[:, 1] * np.array([1, 1, 0.3]) + np.array([0, 0.5, 0]))
    left = unit_vector(chest[:, 0] - down * float(chest[:, 0] @ down))
    return np.stack([left, down, np.cross(left, down)], axis=1)


@functools.cache
def _head_turns() -> tuple[np.ndarray, np.ndarray]:
    """Return rotations (T, 3, 3) of a head against the chest and how unusual each is."""
    frames, costs = [], []
    for yaw in range(-80, 81, 16):
        for pitch in range(-48, 49, 16):
            for roll in (-36, -18, 0, 18, 36):
                frames.append(turn("y", yaw) @ turn("x", pitch) @ turn("z", roll))
                costs.append((yaw / 70) ** 2 + (pitch / 40) ** 2 + (roll / 30) ** 2)
    return np.array(frames), np.array(costs) * 0.35


def _add_ends(places: np.ndarray, chest: np.ndarray, body: Proportions, unit: float) -> None:
    """Write hands and feet."""
    for side in SIDES:
        elbow, wrist, knee, ankle = (places[INDEX[f"{side}_{name}"]] for name in ("elbow", "wrist", "knee", "ankle"))
        places[INDEX[f"{side}_hand"]] = wrist + unit_vector(wrist - elbow) * body.hand * unit
        down = unit_vector(ankle - knee)
        forwards = unit_vector(chest[:, 2] * np.array([1, 0.3, 1]) + np.array([0, 0.15, 0]))
        along = unit_vector(forwards - down * float(forwards @ down) * 0.7)
        sole = ankle + down * body.foot * 0.18 * unit
        places[INDEX[f"{side}_heel"]] = sole - along * body.foot * 0.18 * unit
        places[INDEX[f"{side}_toe"]] = sole + along * body.foot * 0.72 * unit
