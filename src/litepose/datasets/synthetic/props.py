"""What people hold, carry, sit or stand on: capsules that belong to nobody's mask but hide what is behind them."""

from __future__ import annotations

import numpy as np

from litepose.datasets.synthetic.body import SIDES, Figure
from litepose.datasets.synthetic.limbs import PART, girth, trunk_depth
from litepose.datasets.synthetic.outfit import any_colour
from litepose.datasets.synthetic.painting import Limb

HELD = ("racket", "bat", "ball", "phone", "bag", "umbrella", "cup", "pole", "book")


def random_props(rng: np.random.Generator, figure: Figure) -> list[Limb]:
    """Draw what this person has to do with."""
    props: list[Limb] = []
    draw = rng.random(3)
    if draw[0] < 0.22:
        props += _held(rng, figure, SIDES[int(rng.integers(2))], HELD[int(rng.integers(len(HELD)))])
    if _sits(figure) and draw[1] < 0.75:
        props += _seat(rng, figure)
    elif draw[1] < 0.06:
        props.append(_board(rng, figure))
    if draw[2] < 0.07:
        props.append(_backpack(rng, figure))
    return props


def _held(rng: np.random.Generator, figure: Figure, side: str, what: str) -> list[Limb]:
    """Return something in a hand."""
    unit = figure.height
    wrist, hand = figure.point(f"{side}_wrist"), figure.point(f"{side}_hand")
    grip = wrist + (hand - wrist) * 0.7
    along = hand - wrist
    along = along / max(float(np.linalg.norm(along)), 1e-6)
    aside = rng.normal(size=3)
    aside = aside - along * float(aside @ along) * 0.5
    aside = aside / max(float(np.linalg.norm(aside)), 1e-6)
    down = np.array([0.0, 1.0, 0.0])
    colour, other = any_colour(rng, 0.3), any_colour(rng, 0.5)
    behind, before = float(hand[2]) + 0.013 * unit, float(hand[2]) + 0.03 * unit

    def stick(a: np.ndarray, b: np.ndarray, widths: tuple[float, float, float, float], depth: float) -> Limb:
        return Limb(PART["prop"], grip + a * unit, grip + b * unit, girth(figure, widths), colour, depth)

    if what == "racket":
        return [stick(0 * along, along * 0.34, (0.009, 0.008, 0.05, 0.045), behind)]
    if what in ("bat", "pole"):
        long = 0.45 if what == "bat" else 0.9
        return [stick(-aside * 0.06, aside * long, (0.009, 0.011, 0.018, 0.017), behind)]
    if what == "ball":
        round_ = float(rng.uniform(0.025, 0.075))
        return [stick(along * round_, along * (round_ + 0.001), (round_,) * 4, before)]
    if what == "bag":
        limb = stick(down * 0.11, down * float(rng.uniform(0.16, 0.26)), (0.05, 0.075, 0.08, 0.06), before)
        return [stick(0 * down, down * 0.1, (0.006,) * 4, behind), limb]
    if what == "umbrella":
        top, half = grip - 0.5 * down * unit, np.array([0.16 * unit, 0, 0])
        canopy = Limb(PART["prop"], top - half, top + half, girth(figure, (0.05, 0.10, 0.10, 0.05)), other, before)
        return [stick(0 * down, -0.5 * down, (0.006,) * 4, behind), canopy]
    size = {"phone": 0.02, "cup": 0.026, "book": 0.045}[what]
    return [stick(-along * size, along * size * 1.2, (size * 0.8,) * 4, before)]


def _sits(figure: Figure) -> bool:
    """Say whether the feet are much nearer to the hips than in standing, on both sides."""
    hips, ankles = figure.point("pelvis")[1], min(figure.point("left_ankle")[1], figure.point("right_ankle")[1])
    upright = figure.point("thorax")[1] < hips - 0.12 * figure.height
    return upright and 0.12 < (ankles - hips) / figure.height < 0.33


def _seat(rng: np.random.Generator, figure: Figure) -> list[Limb]:
    """Return a stool, a bench or a chair under who sits."""
    unit, pelvis = figure.height, figure.point("pelvis")
    colour = any_colour(rng, 0.6)
    wide, low = float(rng.uniform(0.10, 0.32)), 0.075 * unit
    depth = float(min(figure.points[:, 2].min(), trunk_depth(figure) - 0.05 * unit))
    left, right = pelvis + np.array([-wide * unit, low, 0]), pelvis + np.array([wide * unit, low, 0])
    thick = girth(figure, (0.035, 0.045, 0.045, 0.035))
    props = [Limb(PART["prop"], left, right, thick, colour, depth)]
    for end in (left, right):
        leg = girth(figure, (0.012,) * 4)
        props.append(Limb(PART["prop"], end, end + np.array([0, 0.24 * unit, 0]), leg, colour * 0.7, depth - 1))
    if rng.random() < 0.5:
        back = np.array([0, -float(rng.uniform(0.2, 0.4)) * unit, 0])
        broad = girth(figure, (0.11, 0.12, 0.12, 0.09))
        props.append(Limb(PART["prop"], pelvis, pelvis + back, broad, colour * 0.85, depth - 2))
    return props


def _board(rng: np.random.Generator, figure: Figure) -> Limb:
    """Return a board under both feet."""
    a = (figure.point("left_heel") + figure.point("left_toe")) / 2
    b = (figure.point("right_heel") + figure.point("right_toe")) / 2
    way = (b - a) * 0.25 + np.array([0.06, 0, 0]) * figure.height * np.sign(b[0] - a[0] + 1e-9)
    below = np.array([0, 0.025, 0]) * figure.height
    depth = float(figure.points[:, 2].min()) - 1
    return Limb(PART["prop"], a - way + below, b + way + below, girth(figure, (0.015, 0.025, 0.025, 0.015)),
                any_colour(rng, 0.3), depth)  # fmt: skip


def _backpack(rng: np.random.Generator, figure: Figure) -> Limb:
    back = figure.point("thorax") - figure.chest[:, 2] * (figure.body.chest[1] + 0.02) * figure.height
    down = figure.chest[:, 1] * figure.height
    depth = trunk_depth(figure) + (0.05 if figure.chest[2, 2] < 0 else -0.05) * figure.height
    return Limb(PART["prop"], back + down * 0.05, back + down * 0.2, girth(figure, (0.065, 0.075, 0.078, 0.06)),
                any_colour(rng, 0.4), depth)  # fmt: skip
