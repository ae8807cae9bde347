"""Cloth patterns, folds and noise, made once from fixed seeds and sliced everywhere."""

from __future__ import annotations

import functools

import cv2
import numpy as np

PATTERNS = ("plain", "thin stripes across", "broad stripes across", "stripes along", "checks", "dots", "camouflage",
            "one band", "denim", "flowers")  # fmt: skip
SIDE = 160


@functools.cache
def patterns() -> np.ndarray:
    """Return how much of the second colour each pattern shows: (len(PATTERNS), SIDE, SIDE) float32 in [0, 1]."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    noise = smooth_noise(SIDE, 77, 12)
    grain = smooth_noise(SIDE, 78, 2)
    flowers = smooth_noise(SIDE, 79, 5)
    made = (
        np.zeros_like(x),
        y % 8 < 3,
        y % 20 < 9,
        x % 10 < 4,
        0.5 * (y % 14 < 6) + 0.5 * (x % 12 < 5),
        ((x % 9 - 4) ** 2 + (y % 9 - 4) ** 2 < 6),
        noise > 0.08,
        (y > 16) & (y < 34),
        np.clip(grain * 0.25 + 0.3, 0, 1),
        np.abs(flowers) > 0.9,
    )
    return np.stack([cv2.GaussianBlur(np.asarray(one, np.float32), (3, 3), 0) for one in made])


@functools.cache
def wrinkle_map() -> np.ndarray:
    """Return folds of cloth, slanted and stretched noise of unit spread: (256, 128) float32."""
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(256, 128)).astype(np.float32)
    folds = cv2.GaussianBlur(noise, (0, 0), sigmaX=7, sigmaY=2.2)
    folds = folds + 0.6 * cv2.GaussianBlur(noise, (0, 0), sigmaX=3, sigmaY=6)
    return np.asarray(folds / folds.std(), np.float32)


@functools.cache
def smooth_noise(side: int, seed: int, sigma_px: float) -> np.ndarray:
    """Return blurred white noise of unit spread: (side, side) float32."""
    noise = np.random.default_rng(seed).normal(size=(side, side)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred / blurred.std(), np.float32)


@functools.cache
def rough_noise() -> np.ndarray:
    """Return noise of many octaves (ground, walls, leaves): (640, 640) float32 of unit spread."""
    total = np.zeros((640, 640), np.float32)
    for octave in range(7):
        side = 5 * 2**octave
        noise = np.random.default_rng(100 + octave).normal(size=(side + 2, side + 2)).astype(np.float32)
        total += cv2.resize(noise, (640, 640), interpolation=cv2.INTER_CUBIC) * 0.62**octave
    return total / total.std()


@functools.cache
def white_noise() -> np.ndarray:
    """Return sensor noise of unit spread: (1024, 1024) float32."""
    return np.random.default_rng(9).normal(size=(1024, 1024)).astype(np.float32)
