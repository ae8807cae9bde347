"""What people do: simple pose priors as targets for hands and feet, and from where they are seen.

A prior is data. Each hand and foot has a list of targets, drawn at random, with a spread; inverse kinematics
(body.bend) finds the elbow and knee, which gives human poses without a table of joint angles.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from litepose.datasets.synthetic.body import BodyPose, Figure, Proportions, look_at, pose_body

Target = tuple[float, float, float]  # outwards, down, forwards, in limb lengths

# Hands, from the shoulder, in arm lengths.
HANGING = ((0.10, 0.97, 0.05), (0.16, 0.93, 0.15), (0.22, 0.90, -0.08))
SWINGING = ((0.10, 0.88, 0.34), (0.12, 0.86, -0.38), (0.05, 0.75, 0.45), (0.14, 0.93, -0.20))
ON_HIP = ((0.14, 0.80, 0.10),)
FOLDED = ((-0.34, 0.42, 0.34), (-0.30, 0.48, 0.32), (-0.25, 0.66, 0.30))
AT_FACE = ((-0.18, -0.26, 0.30), (-0.08, -0.18, 0.38), (-0.12, -0.36, 0.16))
IN_FRONT = ((-0.12, 0.45, 0.62), (-0.20, 0.30, 0.70), (0.05, 0.50, 0.60), (-0.22, 0.60, 0.45))
REACHING = ((0.10, 0.05, 0.95), (0.35, -0.10, 0.85), (0.45, 0.20, 0.75), (0.0, 0.35, 0.85))
SIDEWAYS = ((0.95, 0.05, 0.10), (0.85, 0.40, 0.05), (0.85, -0.35, 0.10), (0.6, 0.7, 0.05))
UP = ((0.18, -0.95, 0.05), (0.45, -0.82, 0.10), (0.10, -0.85, 0.40), (0.25, -0.6, 0.30))
ON_KNEES = ((0.02, 0.80, 0.55), (0.0, 0.70, 0.62))
RUNNING_ARMS = ((0.02, 0.40, 0.50), (0.22, 0.62, -0.35), (0.0, 0.25, 0.52), (0.25, 0.50, -0.40))
BEHIND = ((-0.15, 0.80, -0.25),)
HEAD = ((0.10, -0.45, -0.05),)

# Feet, from the hip, in leg lengths.
UPRIGHT = ((0.02, 0.99, 0.0), (0.08, 0.985, 0.03), (0.0, 0.985, 0.06), (0.05, 0.98, -0.08))
STEPPING = ((0.02, 0.92, 0.30), (0.02, 0.93, -0.28), (0.0, 0.95, 0.18), (0.0, 0.86, -0.38))
STRIDING = ((0.0, 0.80, 0.50), (0.0, 0.62, -0.55), (0.0, 0.70, 0.45), (0.02, 0.45, -0.50))
WIDE = ((0.35, 0.90, 0.05), (0.45, 0.78, 0.15), (0.28, 0.93, -0.05))
SEATED = ((0.05, 0.50, 0.55), (0.10, 0.45, 0.62), (0.12, 0.52, 0.45), (0.0, 0.40, 0.75))
FLOOR = ((0.10, 0.12, 0.62), (-0.05, 0.10, 0.45), (0.30, 0.08, 0.50), (0.05, 0.15, 0.92))
SQUAT = ((0.15, 0.50, 0.12), (0.18, 0.45, 0.20), (0.10, 0.58, 0.05))
KNEELING = ((0.05, 0.50, -0.45), (0.05, 0.55, 0.50))
LUNGING = ((0.05, 0.70, 0.60), (0.05, 0.72, -0.62), (0.40, 0.75, 0.25))
KICKING = ((0.05, 0.45, 0.80), (0.20, 0.60, 0.72), (0.10, 0.30, 0.85))
BENT = ((0.22, 0.80, 0.10), (0.15, 0.85, 0.15), (0.25, 0.75, -0.10))
TUCKED = ((0.08, 0.55, 0.30), (0.12, 0.45, -0.25), (0.20, 0.60, 0.10))


@dataclass(frozen=True)
class Prior:
    """One kind of pose: means and spreads; `opposed` draws the two sides from different targets."""

    weight: float
    arms: tuple[tuple[Target, ...], ...]
    legs: tuple[tuple[Target, ...], ...]
    lean: tuple[float, float] = (2.0, 4.0)
    bow: tuple[float, float] = (3.0, 5.0)
    twist: float = 6.0
    tilt: float = 3.0
    nod: tuple[float, float] = (0.0, 11.0)
    spread: float = 0.06
    opposed: bool = False
    pitched: tuple[float, float] = (0.0, 8.0)  # of the feet
    splay: float = 0.25  # how far the knees point outwards
    props: tuple[str, ...] = field(default=())


PRIORS: dict[str, Prior] = {
    "standing": Prior(5, (HANGING, HANGING, ON_HIP, IN_FRONT, AT_FACE, BEHIND, FOLDED), (UPRIGHT,)),
    "posing": Prior(2, (ON_HIP, HANGING, AT_FACE, SIDEWAYS, UP, HEAD), (UPRIGHT, WIDE, STEPPING), tilt=7, twist=14),
    "arms folded": Prior(1, (FOLDED,), (UPRIGHT,)),
    "holding": Prior(2, (IN_FRONT, AT_FACE, IN_FRONT, HANGING), (UPRIGHT, STEPPING), nod=(15, 12)),
    "walking": Prior(4, (SWINGING, SWINGING, SWINGING, IN_FRONT, HANGING), (STEPPING,), opposed=True, lean=(4, 3)),
    "running": Prior(2, (RUNNING_ARMS,), (STRIDING,), opposed=True, lean=(10, 6), twist=15, spread=0.09),
    "sitting": Prior(3, (ON_KNEES, IN_FRONT, FOLDED, AT_FACE, HANGING), (SEATED,), lean=(-4, 9), bow=(8, 9)),
    "sitting on the floor": Prior(1, (ON_KNEES, IN_FRONT, BEHIND, HANGING), (FLOOR,), lean=(-6, 14), bow=(12, 12),
                                  splay=0.7),
    "crouching": Prior(1, (ON_KNEES, IN_FRONT, REACHING), (SQUAT,), lean=(26, 12), bow=(16, 10), splay=0.6),
    "kneeling": Prior(0.7, (ON_KNEES, IN_FRONT, REACHING, HANGING), (KNEELING,), opposed=True, lean=(8, 10)),
    "reaching": Prior(2, (REACHING, HANGING, UP, SIDEWAYS), (UPRIGHT, STEPPING, WIDE), lean=(8, 10), bow=(8, 10),
                      spread=0.1),
    "arms up": Prior(1.2, (UP,), (UPRIGHT, WIDE), nod=(-8, 14), spread=0.12),
    "star": Prior(0.7, (SIDEWAYS,), (WIDE, UPRIGHT), spread=0.1),
    "swinging a racket": Prior(1.5, (SIDEWAYS, UP, REACHING), (LUNGING, WIDE, STEPPING), opposed=True, lean=(12, 10),
                               twist=28, tilt=10, spread=0.14),
    "batting": Prior(1, (((-0.35, 0.10, 0.45), (0.0, -0.05, 0.45), (-0.30, 0.35, 0.62)),), (WIDE, BENT), lean=(14, 8),
                     twist=25, spread=0.07),
    "kicking": Prior(1, (SIDEWAYS, SWINGING), (KICKING, UPRIGHT), opposed=True, lean=(-6, 12), twist=18, spread=0.1),
    "jumping": Prior(0.8, (UP, SIDEWAYS, REACHING), (TUCKED, STRIDING, WIDE), spread=0.14, pitched=(35, 20)),
    "riding a board": Prior(1.5, (SIDEWAYS, REACHING, IN_FRONT), (BENT,), lean=(22, 12), bow=(10, 8), twist=22,
                            tilt=10, spread=0.12),
    "cycling": Prior(0.8, (((0.05, 0.45, 0.85),),), (((0.02, 0.75, 0.30), (0.02, 0.55, 0.45)),), opposed=True,
                     lean=(30, 10), bow=(14, 8), nod=(-20, 10)),
    "bending over": Prior(1, (HANGING, REACHING, IN_FRONT), (UPRIGHT, BENT, STEPPING), lean=(45, 18), bow=(25, 10)),
    "lunging": Prior(0.8, (ON_KNEES, UP, SIDEWAYS, IN_FRONT), (LUNGING,), opposed=True, lean=(10, 12)),
    "anything": Prior(1, (HANGING, SIDEWAYS, UP, REACHING, FOLDED, BEHIND, RUNNING_ARMS),
                      (UPRIGHT, STEPPING, BENT, WIDE, STRIDING), lean=(8, 18), bow=(8, 14), twist=22, tilt=10,
                      spread=0.22, nod=(5, 20)),
}  # fmt: skip
_NAMES = tuple(PRIORS)
_WEIGHTS = np.array([prior.weight for prior in PRIORS.values()]) / sum(prior.weight for prior in PRIORS.values())
_CUMULATIVE = np.cumsum(_WEIGHTS)


def random_figure(rng: np.random.Generator, body: Proportions) -> tuple[str, Figure]:
    """Draw what a person does and from where it is seen; returns the prior's name and the figure, height 1."""
    name = _NAMES[min(int(np.searchsorted(_CUMULATIVE, rng.random())), len(_NAMES) - 1)]
    pose = random_pose(rng, PRIORS[name])
    return name, look_at(pose_body(body, pose), body, *random_view(rng))


def random_pose(rng: np.random.Generator, prior: Prior) -> BodyPose:
    """Draw a pose of this kind."""
    left_arm, right_arm = _pick(rng, prior.arms), _pick(rng, prior.arms)
    left_leg = _pick(rng, prior.legs)
    right_leg = left_leg if rng.random() < 0.6 and not prior.opposed else _pick(rng, prior.legs)
    wrists = _targets(rng, left_arm, right_arm, prior)
    ankles = _targets(rng, left_leg, right_leg, prior, spread=0.5)
    noise = rng.normal(0.0, 1.0, 22)
    elbows = np.array([[0.55, 0.75, -0.45], [0.55, 0.75, -0.45]]) + 0.25 * noise[:6].reshape(2, 3)
    raised = wrists[:, 1] < -0.2
    elbows[raised] = np.array([1.0, 0.1, 0.1]) + 0.25 * noise[:3]
    knees = np.array([[prior.splay, -0.15, 1.0]] * 2) + 0.15 * noise[6:12].reshape(2, 3)
    toes = np.stack([15 + 12 * noise[12:14], prior.pitched[0] + prior.pitched[1] * np.abs(noise[14:16])], axis=1)
    return BodyPose(
        lean=prior.lean[0] + prior.lean[1] * noise[16],
        bow=max(-10.0, prior.bow[0] + prior.bow[1] * noise[17]),
        tilt=prior.tilt * noise[18],
        twist=float(np.clip(prior.twist * noise[19], -45, 45)),
        head=(float(np.clip(prior.nod[0] + prior.nod[1] * noise[20], -35, 50)),
              float(np.clip(22 * noise[21], -65, 65)), 6.0 * noise[20]),
        wrists=wrists, elbows=elbows, ankles=ankles, knees=knees, toes=toes,
    )  # fmt: skip


def random_view(rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Draw (yaw, pitch, roll, strength of the perspective): mostly seen from the front, at eye height, upright."""
    kind = rng.random()
    yaw = float(rng.normal(0, 32) if kind < 0.5 else rng.normal(180, 30) if kind < 0.68 else rng.uniform(-180, 180))
    pitch = float(rng.normal(6, 9)) if rng.random() < 0.9 else float(rng.uniform(-25, 50))
    roll = float(rng.normal(0, 4)) if rng.random() < 0.93 else float(rng.uniform(-180, 180))
    return yaw, pitch, roll, float(rng.uniform(0.03, 0.22))


def _pick(rng: np.random.Generator, groups: tuple[tuple[Target, ...], ...]) -> tuple[Target, ...]:
    return groups[int(rng.integers(len(groups)))]


def _targets(
    rng: np.random.Generator, left: tuple[Target, ...], right: tuple[Target, ...], prior: Prior, *, spread: float = 1.0
) -> np.ndarray:
    """Draw a target for the left and one for the right; opposed sides never take the same one."""
    first, second = int(rng.integers(len(left))), int(rng.integers(len(right)))
    if prior.opposed and left == right and first == second:
        second = (second + 1) % len(right)
    return np.array([left[first], right[second]]) + rng.normal(0, prior.spread * spread, (2, 3))
