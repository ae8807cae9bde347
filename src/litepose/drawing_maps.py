"""A network's maps laid over the picture: where it sees which keypoint, and which keypoints it takes for one person.

Each frame (the whole picture, or the crop around a box) is shown as the network saw it, dimmed to grey, so that all
colour is the maps'. Where heatmaps overlap, the hottest keypoint's colour wins. Tags have no unit: keypoints whose hue
is the same are grouped into one person.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from litepose.codecs import MapLayers
from litepose.drawing import side_of
from litepose.geometry import Warp
from litepose.skeleton import Skeleton

FRAME_PX, CROP_PX = 640, 288  # longer side of a frame that is alone, and of one among several
MOST_CROPS = 24  # shown
GREY_SHARE = 0.5  # of the picture's light
STRENGTH = 0.9  # opacity of the strongest heat
FAINTEST_FULL = 0.1  # maps that are nowhere hotter are shown as faint as they are
TAGGED_SHARE = 0.3  # of the strongest heat: where tags mean something
HUES = {"left": (30, -15), "right": (42, 132)}  # OpenCV degrees / 2, from the first keypoint of a side to its last
MOST_HUE = 150  # of tags: beyond it lies the first hue again

PLATE, INK = (38, 34, 30), (240, 240, 240)  # BGR
TEXT_SCALE, LINE_PX, PAD_PX = 0.45, 22, 8
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class _Panel:
    picture: np.ndarray  # (h, w, 3)
    title: str


def draw_maps(image: np.ndarray, frames: Sequence[tuple[Warp, MapLayers]], skeleton: Skeleton) -> np.ndarray:
    """Return a picture of a picture's maps ((H, W, 3) uint8 BGR): a panel for each frame's heat, and one for its tags.

    frames: the warp from `image` to the network input, and the codec's maps over it. Without any, the picture alone.
    Colours are full at the strongest heat of all frames, which the legend names.
    """
    shown = list(frames[:MOST_CROPS])
    if not shown:
        return _page([_Panel(_dimmed(image), "nobody was looked for")], [])
    strongest = max(float(layers.heatmaps.max(initial=0)) for _, layers in shown)
    full = min(max(strongest, FAINTEST_FULL), 1.0)
    longest = FRAME_PX if len(shown) == 1 else CROP_PX
    panels, colours = [], keypoint_colours(skeleton)
    for number, (warp, layers) in enumerate(shown, start=1):
        size = _panel_size(warp.size, longest)
        grey = _dimmed(warp.then(Warp.resize(warp.size, size)).image(image))
        which, heat = _hottest(layers.heatmaps, size)
        name = "heatmaps" if len(frames) == 1 else f"box {number}"
        title = f"{name}, strongest {layers.heatmaps.max(initial=0):.2f}"
        panels.append(_Panel(_laid_over(grey, colours[which], heat / full), title))
        if layers.tags is not None:
            panels.append(_tag_panel(grey, layers, which, heat, full))
    legend = [f"full colour: heat {full:.2f}"]
    if len(frames) > len(shown):
        legend.append(f"{len(frames) - len(shown)} more boxes are not shown")
    return _page(panels, [*legend, *zip(skeleton.keypoints, colours.tolist(), strict=True)])


def keypoint_colours(skeleton: Skeleton) -> np.ndarray:
    """Return a colour for each keypoint: (K, 3) uint8 BGR. Left ones are warm, right ones cold, the middle is white."""
    sides = [side_of(name) for name in skeleton.keypoints]
    colours = np.full((len(sides), 3), 235, dtype=np.uint8)
    for side, (first, last) in HUES.items():
        places = [i for i, one in enumerate(sides) if one == side]
        hues = np.linspace(first, last, len(places)) % 180
        colours[places] = _of_hues(hues)
    return colours


def _of_hues(hues: np.ndarray) -> np.ndarray:
    """Return bright colours of these hues (OpenCV: degrees / 2): (..., 3) uint8 BGR."""
    flat = np.round(np.asarray(hues)).astype(np.uint8).reshape(1, -1, 1)
    hsv = np.concatenate([flat, np.full_like(flat, 230), np.full_like(flat, 255)], axis=-1)
    colours: np.ndarray = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) if flat.size else np.zeros((1, 0, 3), np.uint8)
    return colours.reshape(*np.shape(hues), 3)


def _panel_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    zoom = longest / max(size)
    return max(1, round(size[0] * zoom)), max(1, round(size[1] * zoom))


def _dimmed(image: np.ndarray) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return cv2.cvtColor((grey * GREY_SHARE).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def _hottest(heatmaps: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return at each pixel of a (w, h) panel which keypoint is hottest, (h, w) int64, and its heat, (h, w) float32."""
    which = np.zeros(size[::-1], dtype=np.int64)
    most = np.zeros(size[::-1], dtype=np.float32)
    for keypoint, heatmap in enumerate(heatmaps):  # one by one: all of them together may be large
        heat = cv2.resize(np.asarray(heatmap, dtype=np.float32), size, interpolation=cv2.INTER_LINEAR)
        hotter = heat > most
        which[hotter], most[hotter] = keypoint, heat[hotter]
    return which, most


def _laid_over(grey: np.ndarray, colours: np.ndarray, heat: np.ndarray) -> np.ndarray:
    cover = (STRENGTH * np.clip(heat, 0, 1)).astype(np.float32)
    return cv2.blendLinear(np.ascontiguousarray(colours), grey, cover, 1 - cover)


def _tag_panel(grey: np.ndarray, layers: MapLayers, which: np.ndarray, heat: np.ndarray, full: float) -> _Panel:
    """Return the hottest keypoint's tag as a hue, where it is hot enough to belong to anybody."""
    assert layers.tags is not None
    tagged = heat > TAGGED_SHARE * full
    if not tagged.any():
        return _Panel(grey, "tags: no heat to read them at")
    height, width = layers.tags.shape[1:]
    y, x = np.nonzero(tagged)
    rows = np.minimum((y + 0.5) * height / heat.shape[0], height - 1).astype(int)
    columns = np.minimum((x + 0.5) * width / heat.shape[1], width - 1).astype(int)
    tags = layers.tags[which[y, x], rows, columns]
    low, high = (float(end) for end in np.percentile(tags, (1, 99)))
    hues = np.zeros(heat.shape, dtype=np.float32)
    hues[y, x] = MOST_HUE * np.clip((tags - low) / max(high - low, 1e-6), 0, 1)
    picture = _laid_over(grey, _of_hues(hues), np.where(tagged, np.sqrt(heat / full), 0))
    _paint_hue_bar(picture, low, high)
    return _Panel(picture, "tags: one hue, one person")


def _paint_hue_bar(picture: np.ndarray, low: float, high: float) -> None:
    """Paint the hues and the tags at their ends into the panel's lower left corner, in place."""
    width, height = min(160, picture.shape[1] // 3), 10
    bottom = picture.shape[0] - PAD_PX
    if bottom < height + LINE_PX or width < 8:
        return
    bar = np.tile(_of_hues(np.linspace(0, MOST_HUE, width)), (height, 1, 1))
    picture[bottom - height : bottom, PAD_PX : PAD_PX + width] = bar
    text = f"tag {low:.1f} to {high:.1f}"
    cv2.putText(picture, text, (PAD_PX, bottom - height - 6), FONT, TEXT_SCALE, INK, 1, cv2.LINE_AA)


def _page(panels: Sequence[_Panel], legend: Sequence[str | tuple[str, Sequence[int]]]) -> np.ndarray:
    """Return panels in rows, each under its title, and the legend's entries below: texts, or a name with its colour."""
    cell_width = max(panel.picture.shape[1] for panel in panels) + PAD_PX
    cell_height = max(panel.picture.shape[0] for panel in panels) + LINE_PX + PAD_PX
    columns = len(panels) if len(panels) <= 2 else math.ceil(math.sqrt(len(panels) * cell_height / cell_width * 1.5))
    columns = min(columns, len(panels))
    rows = math.ceil(len(panels) / columns)
    page = np.full((rows * cell_height, columns * cell_width + PAD_PX, 3), PLATE, dtype=np.uint8)
    for number, panel in enumerate(panels):
        top, left = number // columns * cell_height + LINE_PX, number % columns * cell_width + PAD_PX
        height, width = panel.picture.shape[:2]
        page[top : top + height, left : left + width] = panel.picture
        cv2.putText(page, panel.title, (left, top - 6), FONT, TEXT_SCALE, INK, 1, cv2.LINE_AA)
    return np.concatenate([page, _legend(legend, page.shape[1])])


def _legend(entries: Sequence[str | tuple[str, Sequence[int]]], width: int) -> np.ndarray:
    """Return the entries in lines of a strip of this width: (h, width, 3) uint8."""
    places, x, line = [], PAD_PX, 0
    for entry in entries:
        name, colour = (entry, None) if isinstance(entry, str) else (entry[0].replace("_", " "), entry[1])
        extent = cv2.getTextSize(name, FONT, TEXT_SCALE, 1)[0][0] + (PAD_PX + 12 if colour is not None else 0)
        if x > PAD_PX and x + extent > width - PAD_PX:
            x, line = PAD_PX, line + 1
        places.append((name, colour, x, line))
        x += extent + 2 * PAD_PX
    strip = np.full(((line + 1) * LINE_PX + PAD_PX if entries else 0, width, 3), PLATE, dtype=np.uint8)
    for name, colour, x, line in places:
        middle = line * LINE_PX + LINE_PX // 2
        if colour is not None:
            cv2.rectangle(strip, (x, middle - 6), (x + 12, middle + 6), tuple(colour), -1)
            x += 12 + PAD_PX
        cv2.putText(strip, name, (x, middle + 5), FONT, TEXT_SCALE, INK, 1, cv2.LINE_AA)
    return strip
