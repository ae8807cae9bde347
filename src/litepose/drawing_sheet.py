"""Several pictures as one: tiles in columns, lines of text below each and above all."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

SHEET_PX = 1320  # wide at most, where more than one tile fits
MARGIN_PX, LINE_PX = 10, 18
PAPER, INK = (250, 250, 250), (40, 40, 40)
FONT, FONT_SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


def arrange(tiles: Sequence[np.ndarray], *, title: Sequence[str] = ()) -> np.ndarray:
    """Put tiles of about one size, (h, w, 3) uint8 BGR, into as many columns as fit, with lines of text above them."""
    height, width = (max(tile.shape[axis] for tile in tiles) + MARGIN_PX for axis in (0, 1))
    columns = max(1, min(len(tiles), (SHEET_PX - MARGIN_PX) // width))
    rows = -(-len(tiles) // columns)
    sheet = paper(rows * height + MARGIN_PX, columns * width + MARGIN_PX)
    for n, tile in enumerate(tiles):
        top, left = n // columns * height + MARGIN_PX, n % columns * width + MARGIN_PX
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    if not title:
        return sheet
    head = paper(LINE_PX * (len(title) + 1), sheet.shape[1])
    for row, line in enumerate(title, start=1):
        write(head, line, (MARGIN_PX, row * LINE_PX))
    return np.concatenate([head, sheet])


def with_lines(tile: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Return a tile with text below it, cut off where it would be wider."""
    foot = paper(LINE_PX * len(lines) + 6, tile.shape[1])
    for row, line in enumerate(lines, start=1):
        while line and cv2.getTextSize(line, FONT, FONT_SIZE, 1)[0][0] > tile.shape[1]:
            line = line[:-1]
        write(foot, line, (0, row * LINE_PX - 3))
    return np.concatenate([tile, foot])


def paper(height: int, width: int) -> np.ndarray:
    """Return an empty tile."""
    return np.full((height, width, 3), PAPER, np.uint8)


def write(canvas: np.ndarray, text: str, place: tuple[int, int]) -> None:
    """Write text into the canvas, in place; `place` is its bottom left."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, place, FONT, FONT_SIZE, INK, 1, cv2.LINE_AA)
