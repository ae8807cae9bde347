"""What people look like: skin, hair, clothes, shoes, hats; everything is drawn at random, in BGR within [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from litepose.datasets.synthetic.painting import Cloth
from litepose.datasets.synthetic.textures import PATTERNS

# From light to dark, in steps of the Monk scale's order (BGR, our own values).
SKINS = np.array([(205, 220, 245), (180, 200, 236), (160, 185, 228), (135, 165, 212), (110, 142, 196), (85, 118, 172),
                  (65, 92, 140), (48, 68, 108), (36, 50, 82), (28, 38, 60)], np.float32) / 255  # fmt: skip
HAIRS = np.array([(22, 20, 22), (28, 32, 42), (34, 46, 70), (45, 70, 110), (70, 110, 160), (110, 165, 205),
                  (40, 62, 130), (150, 150, 152), (205, 208, 210)], np.float32) / 255  # fmt: skip
HAIR_WEIGHTS = (0.28, 0.2, 0.16, 0.1, 0.08, 0.07, 0.04, 0.05, 0.02)
HAIRCUTS = ("short", "short", "short", "crop", "bob", "long", "long", "ponytail", "bun", "curls", "bald",
            "receding")  # fmt: skip
NEUTRALS = np.array([(30, 30, 32), (60, 58, 56), (110, 108, 105), (165, 165, 165), (225, 226, 228), (245, 246, 246),
                     (80, 50, 30), (96, 66, 42), (60, 90, 130), (120, 150, 180),
                     (150, 175, 200)], np.float32) / 255  # fmt: skip
DENIM = PATTERNS.index("denim")


@dataclass(frozen=True)
class Outfit:
    """One person's looks. Lengths are shares of a limb: sleeves and legs in [0, 2] (2 = to the wrist, the ankle)."""

    skin: np.ndarray
    hair: np.ndarray
    haircut: str
    top: Cloth | None
    sleeves: float
    hem: float  # share of the torso where the top ends
    neckline: float
    jacket: bool
    logo: np.ndarray | None
    bottom: Cloth
    legs: float
    skirt: float  # 0 = none, else its length as a share of the thigh
    shoes: Cloth | None
    boots: float  # how far up the calf
    hat: str
    hat_colour: np.ndarray
    glasses: bool
    beard: bool
    iris: np.ndarray


def random_outfit(rng: np.random.Generator) -> Outfit:
    """Draw one person's looks."""
    style = rng.choice(("casual", "sport", "formal", "summer", "winter", "swim"), p=(0.4, 0.22, 0.12, 0.14, 0.08, 0.04))
    draw = rng.random(24)
    skin = _skin(rng)
    top = Cloth(
        (any_colour(rng, 0.55), any_colour(rng, 0.5)), _pattern(rng), 1.0 + 0.3 * draw[0], 0.05 + 0.07 * draw[1]
    )
    cloth, accent = any_colour(rng, 0.35), any_colour(rng, 0.5)
    washed = draw[2] < 0.35
    accent = cloth * np.float32(0.75) + np.float32(0.2) if washed else accent
    bottom = Cloth((cloth, accent), DENIM if washed else 0, 1.02 + 0.22 * draw[3], 0.05 + 0.06 * draw[4])
    sleeves = {"casual": (0.4, 0.6, 2.0, 1.1), "sport": (0.0, 0.55, 0.6, 2.0), "formal": (2.0, 2.0, 2.0, 0.5),
               "summer": (0.0, 0.35, 0.5, 0.0), "winter": (2.0,) * 4, "swim": (0.0,) * 4}[str(style)]  # fmt: skip
    legs = {"casual": (2.0, 2.0, 2.0, 0.9), "sport": (0.6, 0.75, 2.0, 0.4), "formal": (2.0,) * 4,
            "summer": (0.45, 0.8, 2.0, 0.3), "winter": (2.0,) * 4,
            "swim": (0.25, 0.5, 0.6, 0.05)}[str(style)]  # fmt: skip
    shoes = Cloth((any_colour(rng, 0.6), any_colour(rng, 0.5)), 0, 1.08, 0.02)
    skirted = style in ("casual", "formal", "summer", "sport") and draw[5] < 0.16
    dress = skirted and draw[6] < 0.5
    return Outfit(
        skin=skin,
        hair=HAIRS[int(rng.choice(len(HAIRS), p=HAIR_WEIGHTS))] * (0.85 + 0.3 * draw[7]),
        haircut=HAIRCUTS[int(rng.integers(len(HAIRCUTS)))],
        top=None if style == "swim" and draw[8] < 0.75 else top,
        sleeves=float(np.clip(sleeves[int(draw[9] * 4)] + 0.1 * (draw[10] - 0.5), 0, 2)),
        hem=0.86 + 0.16 * draw[11],
        neckline=0.03 + 0.10 * draw[12],
        jacket=bool(style in ("formal", "casual", "winter") and draw[13] < 0.25),
        logo=any_colour(rng, 0.3) if draw[14] < 0.3 else None,
        bottom=top if dress else bottom,
        legs=0.12 if skirted else float(np.clip(legs[int(draw[15] * 4)] + 0.1 * (draw[16] - 0.5), 0.02, 2)),
        skirt=(0.45 + 0.9 * draw[17]) if skirted else 0.0,
        shoes=None if style == "swim" or draw[18] < 0.05 else shoes,
        boots=0.1 + 0.5 * draw[19] if style == "winter" or draw[20] < 0.08 else 0.12 * draw[21],
        hat=_hat(str(style), draw[22]),
        hat_colour=any_colour(rng, 0.3),
        glasses=bool(draw[23] < 0.16),
        beard=bool(rng.random() < 0.14),
        iris=np.array([[0.15, 0.2, 0.3], [0.5, 0.4, 0.3], [0.2, 0.35, 0.25]], np.float32)[int(rng.integers(3))],
    )  # fmt: skip


def _skin(rng: np.random.Generator) -> np.ndarray:
    """Draw a tone between two neighbours of the scale, all parts of it equally often."""
    place = float(rng.uniform(0, len(SKINS) - 1.001))
    low = int(place)
    tone = SKINS[low] + (SKINS[low + 1] - SKINS[low]) * np.float32(place - low)
    return tone * np.float32(rng.uniform(0.93, 1.07))


def any_colour(rng: np.random.Generator, neutral: float) -> np.ndarray:
    """Draw the colour of a garment: a grey, navy or beige with probability `neutral`, else any hue."""
    if rng.random() < neutral:
        return np.clip(NEUTRALS[int(rng.integers(len(NEUTRALS)))] * np.float32(rng.uniform(0.8, 1.1)), 0, 1)
    hue, saturation, value = rng.random(), rng.uniform(0.15, 0.75), rng.uniform(0.15, 0.9)
    if rng.random() < 0.15:
        saturation, value = 0.9, 0.95
    ramp = np.abs((hue * 6 + np.array([2.0, 4.0, 0.0])) % 6 - 3) - 1  # b, g, r
    return (value * (1 - saturation * (1 - np.clip(ramp, 0, 1)))).astype(np.float32)


def _pattern(rng: np.random.Generator) -> int:
    return 0 if rng.random() < 0.55 else int(rng.integers(1, len(PATTERNS)))


def _hat(style: str, draw: float) -> str:
    if style == "sport":
        return "cap" if draw < 0.16 else "helmet" if draw < 0.34 else ""
    if style == "winter":
        return "beanie" if draw < 0.5 else "helmet" if draw < 0.7 else ""
    return "cap" if draw < 0.09 else "sun hat" if draw < 0.14 else "beanie" if draw < 0.17 else ""
