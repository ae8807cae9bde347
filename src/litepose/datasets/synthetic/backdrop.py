"""What stands behind and in front of people: walls, streets, meadows, clutter, or given pictures without people."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from litepose.datasets.synthetic.textures import rough_noise

Colour = tuple[float, float, float]


def paint_backdrop(
    rng: np.random.Generator, size: tuple[int, int], horizon: float, pictures: Sequence[np.ndarray] = ()
) -> np.ndarray:
    """Return a background (H, W, 3) uint8 without people; three times in four from `pictures` where there are any.

    horizon: share of the height where the ground begins.
    """
    if pictures and rng.random() < 0.75:
        return _crop(rng, pictures[int(rng.integers(len(pictures)))], size)
    kind = rng.random()
    painter = _room if kind < 0.3 else _street if kind < 0.57 else _meadow if kind < 0.84 else _clutter
    image = painter(rng, size, round(size[1] * horizon))
    if rng.random() < 0.4:
        _add_shapes(rng, image, int(rng.integers(1, 7)))
    return _grain(rng, image)


def paint_object(rng: np.random.Generator, canvas: np.ndarray, covered: np.ndarray, box: np.ndarray) -> None:
    """Paint something in front of people that covers a part of `box` (x1, y1, x2, y2); marks it in `covered` (bool).

    canvas: (H, W, 4) float32.
    """
    width, height = box[2] - box[0], box[3] - box[1]
    mask = np.zeros(covered.shape, np.uint8)
    kind = rng.random()
    if kind < 0.45:  # a table, a wall, a parapet: hides the lower part
        top, bottom = box[1] + height * rng.uniform(0.45, 0.85), box[3] + 0.1 * height
        left, right = box[0] - width * rng.uniform(0, 1), box[2] + width * rng.uniform(0, 1)
        outline = [[left, top], [right, top + rng.normal(0, 3)], [right, bottom], [left, bottom]]
        _polygon(mask, np.array(outline), 255)
    elif kind < 0.7:  # a pole, a trunk
        x, wide = rng.uniform(box[0], box[2]), width * rng.uniform(0.08, 0.35)
        left, right, bottom = x - wide / 2, x + wide / 2, covered.shape[0] + 5
        _polygon(mask, np.array([[left, -5], [right, -5], [right, bottom], [left, bottom]]), 255)
    else:  # a bag, a bush, a box
        centre = (rng.uniform(box[0], box[2]), box[1] + height * rng.uniform(0.35, 1.0))
        axes = (width * rng.uniform(0.15, 0.45) + 2, height * rng.uniform(0.06, 0.2) + 2)
        _ellipse(mask, centre, axes, float(rng.uniform(0, 180)), 255)
    colour, roughness = np.array([*_any_colour(rng), 0], np.float32), float(0.16 * rng.random())
    x, y, w, h = cv2.boundingRect(mask)
    if not (w and h):
        return
    where = slice(y, y + h), slice(x, x + w)
    shade = np.clip(1 + roughness * _noise_crop(rng, (w, h), 1.0), 0.3, 1.6)
    weight = mask[where].astype(np.float32) / 255
    canvas[where] *= cv2.cvtColor(1 - weight, cv2.COLOR_GRAY2BGRA)
    canvas[where] += cv2.cvtColor(shade * weight, cv2.COLOR_GRAY2BGRA) * colour
    covered |= mask > 127


def _room(rng: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """A wall, a floor, a skirting board, windows, pictures and furniture."""
    width, height = size
    image = _gradient(size, _any_colour(rng, pale=0.7), _any_colour(rng, pale=0.7), bool(rng.random() < 0.5))
    floor = _gradient((width, max(1, height - horizon)), _any_colour(rng), _any_colour(rng), True)
    image[horizon:] = floor
    if rng.random() < 0.5:
        vanishing = np.array([width * rng.uniform(0.2, 0.8), horizon - height * rng.uniform(0.05, 0.4)])
        blue, green, red = (float(c) * 0.7 for c in image[height - 1, width // 2])
        for x in np.linspace(-width, 2 * width, int(rng.integers(8, 26))):
            near = np.array([x, height])
            share = (horizon - vanishing[1]) / (height - vanishing[1])
            _line(image, vanishing + (near - vanishing) * share, near, (blue, green, red), 1)
    cv2.rectangle(image, (0, horizon - int(rng.integers(1, 8))), (width, horizon), _any_colour(rng), -1)
    for _ in range(int(rng.integers(0, 5))):
        x, y = rng.uniform(-0.1, 0.9) * width, rng.uniform(-0.1, 0.6) * horizon
        w, h = rng.uniform(0.08, 0.35) * width, rng.uniform(0.08, 0.45) * horizon
        frame = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])
        _polygon(image, frame, _any_colour(rng))
        middle = frame.mean(axis=0)
        _polygon(image, middle + (frame - middle) * 0.86, _any_colour(rng, pale=0.5))
    for _ in range(int(rng.integers(0, 4))):
        _box(rng, image, horizon)
    return image


def _street(rng: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """A sky, houses with windows, a road, poles."""
    width, height = size
    image = _gradient(size, (235, 200, 160), (245, 235, 225), True)
    image[...] = np.clip(image * rng.uniform(0.6, 1.05), 0, 255)
    x = -width * rng.uniform(0, 0.2)
    while x < width:
        wide, top = width * rng.uniform(0.12, 0.5), horizon * rng.uniform(-0.2, 0.8)
        colour = _any_colour(rng, pale=0.35)
        _polygon(image, np.array([[x, top], [x + wide, top], [x + wide, height], [x, height]]), colour)
        pane = tuple(c * rng.uniform(0.4, 0.7) for c in colour)
        step = max(7.0, wide / int(rng.integers(2, 7)))
        tall = step * rng.uniform(0.8, 1.8)
        for column in np.arange(x + step * 0.25, x + wide - step * 0.5, step):
            for row in np.arange(max(top, -tall) + tall * 0.3, horizon - tall * 0.4, tall):
                corner = int(column + step * 0.5), int(row + tall * 0.55)
                cv2.rectangle(image, (int(column), int(row)), corner, pane, -1)
        x += wide + width * max(0.0, rng.normal(0.0, 0.06))
    road = _gradient((width, height - horizon), _grey(rng, 90, 170), _grey(rng, 50, 130), True)
    image[horizon:] = road
    for _ in range(int(rng.integers(0, 4))):
        foot = np.array([rng.uniform(0, width), horizon + rng.uniform(0, 0.5) * (height - horizon)])
        tip = foot - [rng.normal(0, 3), height * rng.uniform(0.3, 1.2)]
        _line(image, foot, tip, _grey(rng, 20, 120), int(rng.integers(1, 9)))
    for _ in range(int(rng.integers(0, 3))):
        _box(rng, image, horizon)
    return image


def _meadow(rng: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """A sky over grass, sand, snow or water, with hills and trees."""
    width, height = size
    image = _gradient(size, (225, 170, 110), (245, 230, 215), True)
    grounds = ((60, 130, 80), (40, 95, 60), (120, 185, 215), (150, 120, 70), (240, 235, 230), (70, 110, 140))
    ground = np.array(grounds[int(rng.integers(len(grounds)))]) * rng.uniform(0.7, 1.1)
    if rng.random() < 0.6:
        ridge = horizon - np.abs(np.cumsum(rng.normal(0, 0.02 * height, 16)))
        line = np.stack([np.linspace(0, width, 16), ridge], axis=1)
        _polygon(image, np.concatenate([line, [[width, height], [0, height]]]), tuple(ground * 0.7 + 30))
    for _ in range(int(rng.integers(0, 9))):
        foot = np.array([rng.uniform(0, width), horizon + rng.uniform(-0.02, 0.1) * height])
        tall = height * rng.uniform(0.08, 0.5)
        _line(image, foot, foot - [rng.normal(0, 2), tall * 0.7], (40, 60, 80), max(1, int(tall * 0.07)))
        for _ in range(int(rng.integers(2, 6))):
            crown = foot + rng.normal(0, 0.13, 2) * tall - [0, tall * 0.75]
            _ellipse(image, crown, (tall * rng.uniform(0.12, 0.3), tall * rng.uniform(0.12, 0.3)), 0,
                     tuple(np.array([40, 100, 60]) * rng.uniform(0.4, 1.2)))  # fmt: skip
    field = _gradient((width, height - horizon), tuple(np.clip(ground * 1.15, 0, 255)), tuple(ground * 0.85), True)
    blend = slice(horizon, height)
    image[blend] = field
    return image


def _clutter(rng: np.random.Generator, size: tuple[int, int], horizon: int) -> np.ndarray:
    """Shapes over shapes, some of them as long and round as limbs."""
    image = _gradient(size, _any_colour(rng), _any_colour(rng), bool(rng.random() < 0.5))
    image[horizon:] = _gradient((size[0], size[1] - horizon), _any_colour(rng), _any_colour(rng), True)
    _add_shapes(rng, image, int(rng.integers(10, 40)))
    return image


def _add_shapes(rng: np.random.Generator, image: np.ndarray, count: int) -> None:
    height, width = image.shape[:2]
    for _ in range(count):
        centre, kind = rng.uniform(0, 1, 2) * (width, height), rng.random()
        reach = min(width, height) * rng.uniform(0.03, 0.3)
        colour = _any_colour(rng, pale=0.2)
        if kind < 0.3:
            _ellipse(image, centre, (reach, reach * rng.uniform(0.2, 1)), float(rng.uniform(0, 180)), colour)
        elif kind < 0.55:
            angles = np.sort(rng.uniform(0, 2 * math.pi, int(rng.integers(3, 7))))
            _polygon(image, centre + reach * np.stack([np.cos(angles), np.sin(angles)], axis=1), colour)
        else:
            turn = rng.uniform(0, 2 * math.pi)
            _line(image, centre, centre + 2 * reach * np.array([math.cos(turn), math.sin(turn)]), colour,
                  max(1, int(reach * rng.uniform(0.03, 0.4))))  # fmt: skip


def _box(rng: np.random.Generator, image: np.ndarray, horizon: int) -> None:
    """A piece of furniture, a car, a crate: a front, a top and a side."""
    height, width = image.shape[:2]
    w, h = width * rng.uniform(0.08, 0.45), height * rng.uniform(0.08, 0.35)
    x, bottom = rng.uniform(-0.1, 1) * width, min(height * 1.1, horizon + rng.uniform(0.02, 0.9) * (height - horizon))
    deep = np.array([rng.normal(0, 0.25) * w, -0.25 * h * rng.random() - 2])
    front = np.array([[x, bottom - h], [x + w, bottom - h], [x + w, bottom], [x, bottom]])
    colour = np.array(_any_colour(rng))
    lid = np.array([front[0], front[1], front[1] + deep, front[0] + deep])
    edge = 1 if deep[0] > 0 else 0
    side = np.array([front[edge], front[edge] + deep, front[3 - edge] + deep, front[3 - edge]])
    _polygon(image, side, tuple(colour * 0.65))
    _polygon(image, lid, tuple(np.clip(colour * 1.15, 0, 255)))
    _polygon(image, front, tuple(colour))


def _crop(rng: np.random.Generator, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A random part of a picture, mirrored half of the time."""
    width, height = size
    fit = min(picture.shape[1] / width, picture.shape[0] / height)
    share = fit * rng.uniform(0.55, 1.0)
    w, h = max(2, int(width * share)), max(2, int(height * share))
    x, y = int(rng.integers(0, picture.shape[1] - w + 1)), int(rng.integers(0, picture.shape[0] - h + 1))
    method = cv2.INTER_AREA if share > 1 else cv2.INTER_LINEAR
    part = cv2.resize(picture[y : y + h, x : x + w], size, interpolation=method)
    return np.ascontiguousarray(part[:, ::-1]) if rng.random() < 0.5 else part


def _grain(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Rough the whole picture up, as plaster, grass and asphalt do."""
    strength = rng.uniform(2, 14)
    noise = _noise_crop(rng, (image.shape[1], image.shape[0]), float(rng.uniform(0.3, 1.0))) * np.float32(strength)
    return cv2.add(image, cv2.merge([noise] * 3), dtype=cv2.CV_8U)


def _noise_crop(rng: np.random.Generator, size: tuple[int, int], zoom: float) -> np.ndarray:
    noise = rough_noise()
    side = max(8, int(noise.shape[0] * zoom * 0.5))
    x, y = (int(rng.integers(0, noise.shape[0] - side + 1)) for _ in range(2))
    return cv2.resize(noise[y : y + side, x : x + side], size, interpolation=cv2.INTER_LINEAR)


def _gradient(size: tuple[int, int], start: Colour, end: Colour, vertical: bool) -> np.ndarray:
    width, height = size
    share = np.linspace(0, 1, height if vertical else width, dtype=np.float32)[:, None]
    row = np.array(start, np.float32) * (1 - share) + np.array(end, np.float32) * share
    row = row.astype(np.uint8)
    return np.asarray(cv2.resize(row[:, None] if vertical else row[None], size, interpolation=cv2.INTER_NEAREST))


def _any_colour(rng: np.random.Generator, pale: float = 0.0) -> Colour:
    """Draw a colour of the world: mostly muted, sometimes loud."""
    value = rng.uniform(30 + 110 * pale, 240)
    tint = rng.normal(0, 14 if rng.random() < 0.7 else 60, 3)
    warm = np.array([-10.0, 0.0, 10.0]) * rng.normal(0.4, 1.0)
    return tuple(float(c) for c in np.clip(value + tint + warm, 0, 255))  # type: ignore[return-value]


def _grey(rng: np.random.Generator, low: float, high: float) -> Colour:
    value = float(rng.uniform(low, high))
    return value, value, value


def _fixed(points: np.ndarray) -> np.ndarray:
    """Return points in the 1/16 px that cv2 draws at (shift=4)."""
    return np.clip(np.round(np.asarray(points, np.float64) * 16), -(2**19), 2**19).astype(np.int32)


def _polygon(image: np.ndarray, corners: np.ndarray, colour: Colour | int) -> None:
    cv2.fillPoly(image, [_fixed(corners)], colour, cv2.LINE_AA, 4)  # type: ignore[arg-type]


def _line(image: np.ndarray, a: np.ndarray, b: np.ndarray, colour: Colour, thickness: int) -> None:
    cv2.line(image, tuple(map(int, _fixed(a))), tuple(map(int, _fixed(b))), colour, thickness, cv2.LINE_AA, 4)


def _ellipse(image: np.ndarray, centre, axes, angle: float, colour: Colour | int) -> None:
    cv2.ellipse(image, tuple(map(int, _fixed(centre))), tuple(map(int, _fixed(axes))), angle, 0, 360, colour, -1,
                cv2.LINE_AA, 4)  # fmt: skip
