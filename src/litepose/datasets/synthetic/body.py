"""A small 3D body: proportions, two-bone limbs bent by inverse kinematics, a camera that looks at it.

Frames. Body: x to the person's left, y down, z forwards. Camera: x right, y down, z towards the viewer, so a person
turned by yaw 0 looks at the viewer and has the left shoulder on the right of the picture. Lengths are shares of the
standing height. Proportions follow the usual anthropometric tables (Drillis and Contini 1966, as cited by Winter,
Biomechanics and Motor Control of Human Movement, table 4.1); shoulders, hips and neck moved to where COCO's annotators
put them (medians of its people seen from the front); children by the usual head-height canon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

SIDES = ("left", "right")
POINTS = (
    "pelvis", "thorax", "neck", "head", "head_top", "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand",
    "right_hand", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel",
    "right_heel", "left_toe", "right_toe",
)  # fmt: skip
INDEX = {name: i for i, name in enumerate(POINTS)}

# Of the head's ellipsoid, in its half axes (left, down, forward).
HEAD_PLACES = {
    "nose": (0.0, 0.26, 1.10), "left_eye": (0.40, -0.02, 0.86), "right_eye": (-0.40, -0.02, 0.86),
    "left_ear": (0.98, 0.15, -0.08), "right_ear": (-0.98, 0.15, -0.08), "head_top": (0.0, -1.0, -0.1),
}  # fmt: skip


@dataclass(frozen=True)
class Proportions:
    """Lengths and girths of one body as shares of its standing height."""

    head: tuple[float, float, float]  # half axes: width, height, depth
    neck: float
    torso: float  # pelvis to the middle of the shoulders
    shoulder: float  # half of the distance between the shoulders
    hip: float
    upper_arm: float
    forearm: float
    hand: float
    thigh: float
    calf: float
    foot: float
    build: float  # 1 = slim adult; multiplies every girth
    chest: tuple[float, float]  # half width, half depth of the rib cage
    waist: tuple[float, float]
    hips: tuple[float, float]

    @property
    def arm(self) -> float:
        return self.upper_arm + self.forearm

    @property
    def leg(self) -> float:
        return self.thigh + self.calf


def random_proportions(rng: np.random.Generator) -> Proportions:
    """Draw an adult (of any build) or, one time in five, a child."""
    child = float(rng.random() < 0.2) * rng.uniform(0.3, 1.0)
    build = float(np.clip(rng.normal(1.08, 0.13), 0.85, 1.5)) + 0.05 * child
    female = rng.random() < 0.5
    jitter = rng.normal(1.0, 0.035, 8)
    head = 0.070 * (1 + 0.4 * child)
    legs = 1 - 0.10 * child
    arms = 1 - 0.08 * child
    wide = (0.100 if female else 0.110) * (1 - 0.05 * child)
    belly = build ** (1.6 if build > 1.1 else 1.0)
    pelvic = 0.090 if female else 0.084
    return Proportions(
        head=(head * 0.72, head, head * 0.84),
        neck=0.066 * (1 - 0.3 * child),
        torso=0.300 * jitter[0] * (1 + 0.03 * child),
        shoulder=wide * jitter[1] * build**0.35,
        hip=0.066 * jitter[2],
        upper_arm=0.172 * jitter[3] * arms,
        forearm=0.143 * jitter[4] * arms,
        hand=0.100 * arms,
        thigh=0.245 * jitter[5] * legs,
        calf=0.240 * jitter[6] * legs,
        foot=0.135 * jitter[7] * legs,
        build=build,
        chest=((0.080 if female else 0.090) * build, 0.062 * build),
        waist=((0.068 if female else 0.077) * belly, 0.056 * belly),
        hips=(pelvic * build, 0.064 * build),
    )


@dataclass(frozen=True)
class BodyPose:
    """Where a body puts its parts.

    angles in degrees. wrists, ankles: for (left, right) the target from the shoulder (in the chest's frame, in arm
    lengths) and from the hip (upright frame, in leg lengths) as (outwards, down, forwards). elbows, knees: which way
    they point, in the same frames. toes: turn of the feet outwards and their pitch down.
    """

    lean: float
    bow: float
    tilt: float
    twist: float
    head: tuple[float, float, float]  # nod down, turn left, tilt
    wrists: np.ndarray  # (2, 3)
    elbows: np.ndarray
    ankles: np.ndarray
    knees: np.ndarray
    toes: np.ndarray  # (2, 2)


@dataclass(frozen=True)
class Figure:
    """A posed body in front of the camera: points (P, 3) and its frames, lengths in the unit of `height`."""

    points: np.ndarray
    chest: np.ndarray  # (3, 3) columns left, down, forward
    pelvis: np.ndarray
    head: np.ndarray
    body: Proportions
    height: float  # in the unit of the points

    def point(self, name: str) -> np.ndarray:
        return self.points[INDEX[name]]

    @property
    def box(self) -> np.ndarray:
        """x1, y1, x2, y2 around the points."""
        return np.concatenate([self.points[:, :2].min(axis=0), self.points[:, :2].max(axis=0)])

    def moved(self, factor: float, shift: np.ndarray) -> Figure:
        """Return the figure at another size and place: points * factor + shift (2,)."""
        points = self.points * factor
        points[:, :2] += shift
        return replace(self, points=points, height=self.height * factor)


def pose_body(body: Proportions, pose: BodyPose) -> np.ndarray:
    """Return the points (P, 3) of the posed body in its own frame, followed by its three frames: (P + 9, 3)."""
    pelvis_frame = turn("x", -pose.lean) @ turn("z", pose.tilt * 0.4)
    chest_frame = pelvis_frame @ turn("x", -pose.bow) @ turn("z", pose.tilt) @ turn("y", pose.twist)
    nod, yaw, tilt = pose.head
    upright = turn("x", -0.45 * (pose.lean + pose.bow))
    head_frame = upright @ turn("y", pose.twist * 0.5 + yaw) @ turn("x", -nod) @ turn("z", tilt)
    points = np.zeros((len(POINTS), 3))
    middle = (pelvis_frame[:, 1] + chest_frame[:, 1]) / 2
    points[INDEX["thorax"]] = -middle / np.linalg.norm(middle) * body.torso
    thorax = points[INDEX["thorax"]]
    skull = thorax - (chest_frame[:, 1] * 0.6 + head_frame[:, 1] * 0.4) * body.neck + chest_frame[:, 2] * 0.012
    points[INDEX["neck"]] = skull
    place_head(points, body, head_frame, skull - head_frame[:, 1] * body.head[1] * 0.80 + head_frame[:, 2] * 0.010)
    for side, sign in enumerate((1.0, -1.0)):
        outwards = np.array([sign, 1.0, 1.0])
        shoulder = thorax + chest_frame[:, 0] * sign * body.shoulder + chest_frame[:, 1] * 0.018
        reach = chest_frame @ (pose.wrists[side] * outwards) * body.arm
        raised = max(0.0, -float(reach @ chest_frame[:, 1]) / body.arm)  # a raised arm lifts its shoulder
        shoulder = shoulder - chest_frame[:, 1] * 0.035 * raised - chest_frame[:, 0] * sign * 0.02 * raised
        elbow, wrist = bend(shoulder, reach, body.upper_arm, body.forearm, chest_frame @ (pose.elbows[side] * outwards))
        hip = pelvis_frame[:, 0] * sign * body.hip
        step = pose.ankles[side] * outwards * body.leg
        knee, ankle = bend(hip, step, body.thigh, body.calf, pose.knees[side] * outwards)
        hand = wrist + unit_vector(wrist - elbow + 0.25 * body.forearm * unit_vector(reach)) * body.hand
        heel, toe = _foot(body, knee, ankle, pose.toes[side], sign)
        for name, place in (("shoulder", shoulder), ("elbow", elbow), ("wrist", wrist), ("hand", hand), ("hip", hip),
                            ("knee", knee), ("ankle", ankle), ("heel", heel), ("toe", toe)):  # fmt: skip
            points[INDEX[f"{SIDES[side]}_{name}"]] = place
    return np.concatenate([points, chest_frame.T, pelvis_frame.T, head_frame.T])


def place_head(points: np.ndarray, body: Proportions, frame: np.ndarray, centre: np.ndarray, unit: float = 1.0) -> None:
    """Write the head's centre and what lies on it into `points`."""
    points[INDEX["head"]] = centre
    for name, place in HEAD_PLACES.items():
        points[INDEX[name]] = centre + frame @ (np.array(place) * body.head) * unit


def bend(
    start: np.ndarray, reach: np.ndarray, first: float, second: float, pole: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the middle and the end of a two-bone limb that reaches for `start + reach`, bent towards `pole`."""
    distance = float(np.linalg.norm(reach))
    along = reach / max(distance, 1e-6)
    distance = min(max(distance, 0.35 * (first + second), abs(first - second) * 1.02), 0.999 * (first + second))
    cosine = (first**2 + distance**2 - second**2) / (2 * first * distance)
    cosine = min(1.0, max(-1.0, cosine))
    sideways = pole - along * float(pole @ along)
    sideways = sideways / max(float(np.linalg.norm(sideways)), 1e-6)
    middle = start + along * first * cosine + sideways * first * math.sqrt(1 - cosine**2)
    return middle, start + along * distance


def look_at(posed: np.ndarray, body: Proportions, yaw: float, pitch: float, roll: float, strength: float) -> Figure:
    """Turn a posed body by yaw, look at it from `pitch` degrees above, roll the camera; height 1.

    strength: of the perspective, 1 / (distance of the camera in body heights).
    """
    view = turn("z", roll) @ turn("x", -pitch) @ turn("y", yaw)
    turned = posed @ view.T
    points = turned[: len(POINTS)].copy()
    points[:, :2] *= (1 + strength * points[:, 2:]).clip(0.6, 1.7)
    frames = turned[len(POINTS) :]
    return Figure(points, frames[0:3].T, frames[3:6].T, frames[6:9].T, body, 1.0)


def _foot(
    body: Proportions, knee: np.ndarray, ankle: np.ndarray, toes: np.ndarray, sign: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the heel and the tip of the toes: the foot stands across the calf, turned outwards and pitched."""
    down = unit_vector(ankle - knee)
    forward = np.array([sign * math.sin(math.radians(toes[0])), 0.0, math.cos(math.radians(toes[0]))])
    forward = unit_vector(forward - down * float(forward @ down) * 0.7)
    pitch = math.radians(toes[1])
    along = forward * math.cos(pitch) + down * math.sin(pitch)
    sole = ankle + down * body.foot * 0.18
    return sole - along * body.foot * 0.18, sole + along * body.foot * 0.72 + down * body.foot * 0.05


def unit_vector(vector: np.ndarray) -> np.ndarray:
    """Return the vector at length 1, zeros for one without length."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def turn(axis: str, degrees: float) -> np.ndarray:
    """Return a rotation (3, 3): x lifts what is in front, y turns the front to the left, z tilts left downwards."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]) if axis == "y" else np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
