"""What a camera does to a scene: exposure, tint, blur, noise, JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from litepose.datasets.synthetic.textures import white_noise


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Return the picture (H, W, 3) uint8 as a camera would have stored it."""
    draw = rng.random(8)
    gamma = np.exp(rng.normal(0, 0.18))
    gains = np.exp(rng.normal(0, 0.06, 3)) * np.exp(rng.normal(0, 0.10))
    tone = (np.arange(256) / 255.0) ** gamma * 255
    table = np.clip(tone[:, None] * gains, 0, 255).astype(np.uint8)[None]  # (1, 256, 3)
    image = cv2.LUT(image, table)
    if draw[0] < 0.45:
        image = cv2.GaussianBlur(image, (0, 0), 0.3 + 1.0 * float(draw[1]) ** 2)
    if draw[2] < 0.7:
        noise = white_noise()
        height, width = image.shape[:2]
        x, y = int(rng.integers(0, 512)), int(rng.integers(0, 512))
        grain = np.take(np.take(noise, np.arange(y, y + height) % 1024, 0), np.arange(x, x + width) % 1024, 1)
        image = cv2.add(image, cv2.merge([grain * np.float32(1 + 9 * draw[3] ** 2)] * 3), dtype=cv2.CV_8U)
    if draw[4] < 0.025:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if draw[5] < 0.5:
        quality = int(30 + 65 * draw[6])
        stored = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))
    return np.asarray(image)
