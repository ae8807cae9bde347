"""How fast it is, onto a frame: frames a second and the milliseconds of each step, in a corner."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from litepose.drawing import COLOURS, RIM_COLOUR

OPACITY = 0.7  # of the plate behind the text
FONT = cv2.FONT_HERSHEY_SIMPLEX
HEIGHT_SHARE = 0.022  # of a line of text, of the picture's height
MIN_HEIGHT_PX = 9


def draw_timing(canvas: np.ndarray, rate: float, steps_ms: Mapping[str, float]) -> None:
    """Write the rate and the steps' milliseconds into `canvas` ((H, W, 3) uint8 BGR), in place, top left."""
    lines = [f"{rate:.1f} fps", *(f"{name} {ms:.1f} ms" for name, ms in steps_ms.items())]
    text_height = max(MIN_HEIGHT_PX, round(HEIGHT_SHARE * canvas.shape[0]))
    size = text_height / cv2.getTextSize("0", FONT, 1.0, 1)[0][1]
    thickness = max(1, round(1.6 * size))
    pad, pitch = text_height // 2 + 1, round(1.7 * text_height)
    widths = [cv2.getTextSize(line, FONT, size, thickness)[0][0] for line in lines]
    plate = canvas[: 2 * pad + pitch * len(lines) - pitch + text_height, : max(widths) + 2 * pad]
    plate[:] = cv2.addWeighted(plate, 1 - OPACITY, np.full_like(plate, RIM_COLOUR), OPACITY, 0)
    for i, line in enumerate(lines):
        place = (pad, pad + text_height + i * pitch)
        cv2.putText(canvas, line, place, FONT, size, COLOURS["centre"], thickness, cv2.LINE_AA)
