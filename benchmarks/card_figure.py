"""The figure of a model card: people found over people annotated, on empty canvases, because pictures have owners.

Wide and pale: everybody as annotated; narrow and dark: the person that a panel is about, as found; orange is the
person's left, blue the right. Dotted red lines lead from a wrong keypoint to its true place. A dashed green frame
stands around somebody missed, a red one around somebody found on nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from litepose.drawing import MIN_SCORE, side_of, visible_keypoints
from litepose.metrics.keypoint_errors import INVERSION, MISS, SWAP, PictureErrors
from litepose.metrics.pairing import boxes_of
from litepose.skeleton import Skeleton

PANEL_PX, CAPTION_PX, GAP_PX, COLUMNS = 250, 46, 12, 3
MARGIN = 0.12  # around whom a panel shows, of the longer side
MIN_LABELLED = 10  # keypoints of a typical person
TRUE_COLOURS = {"left": "#f5c48f", "right": "#a5d2f7", "centre": "#cccccc"}
FOUND_COLOURS = {"left": "#b35900", "right": "#0058a8", "centre": "#444444"}
WRONG, MISSED_FRAME, FALSE_FRAME = "#d0021b", "#1a7f37", "#d0021b"
WRISTS = ("left_wrist", "right_wrist")


@dataclass(frozen=True)
class Case:
    """Why a panel is there, what it shows: the picture, the part of it (x1, y1, x2, y2 px), and who it is about.

    found, true: rows among the people found and the annotated ones, -1 = nobody.
    """

    title: str
    text: str
    errors: PictureErrors
    region: tuple[float, float, float, float]
    found: int = -1
    true: int = -1


def choose_cases(errors: Sequence[PictureErrors], skeleton: Skeleton) -> list[Case]:
    """Return a typical person and the worst of each kind of failure that occurs; nobody twice."""
    pairs = [(one, int(n)) for one in errors for n in np.flatnonzero(one.people.paired)]
    wrists = [skeleton.index(name) for name in WRISTS if name in skeleton.keypoints]

    def count(pair: tuple[PictureErrors, int], kind: int) -> int:
        return int((pair[0].kinds[pair[1]] == kind).sum())

    whole = [pair for pair in pairs if _labelled(pair) >= MIN_LABELLED]
    whole.sort(key=_oks)
    ranked = {
        "Typical: the median OKS": whole[len(whole) // 2 :][:1],
        "Left and right exchanged": _most(pairs, lambda pair: count(pair, INVERSION)),
        "Limbs on somebody else": _most(pairs, lambda pair: count(pair, SWAP)),
        "A wrist far off": _most(
            [pair for pair in pairs if (pair[0].kinds[pair[1]][wrists] == MISS).any()], lambda pair: 1
        ),
    }
    cases, shown = [], set()
    for title, candidates in ranked.items():
        for one, n in candidates:
            if (one.id, n) not in shown:
                shown.add((one.id, n))
                cases.append(_of_a_pair(title, one, n))
                break
    return [*cases, *_missed(errors), *_false(errors)]


def draw_cases(cases: Sequence[Case], *, label: str) -> str:
    """Return the panels as one SVG file. label: what it shows, for those who cannot see it."""
    rows = -(-len(cases) // COLUMNS)
    width = min(len(cases), COLUMNS) * (PANEL_PX + GAP_PX) + GAP_PX
    height = rows * (PANEL_PX + CAPTION_PX + GAP_PX) + GAP_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(label)}" font-family="sans-serif" stroke-linecap="round" fill="none">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for number, case in enumerate(cases):
        left = GAP_PX + number % COLUMNS * (PANEL_PX + GAP_PX)
        top = GAP_PX + number // COLUMNS * (PANEL_PX + CAPTION_PX + GAP_PX)
        parts += _panel(case, left, top)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _labelled(pair: tuple[PictureErrors, int]) -> int:
    people = pair[0].people
    return int(people.truth.labelled[people.partner[pair[1]]].sum())


def _oks(pair: tuple[PictureErrors, int]) -> float:
    people = pair[0].people
    return float(people.similarity[pair[1], people.partner[pair[1]]])


def _most(pairs: list, value_of) -> list:
    """Return the pairs that have some of it, those with most first, of equal ones the best found."""
    return sorted((pair for pair in pairs if value_of(pair)), key=lambda pair: (-value_of(pair), -_oks(pair)))


def _of_a_pair(title: str, one: PictureErrors, n: int) -> Case:
    people, true = one.people, int(one.people.partner[n])
    kinds = {"left-right": INVERSION, "somebody else's": SWAP, "far off": MISS}
    counts = [f"{(one.kinds[n] == kind).sum()} {name}" for name, kind in kinds.items() if (one.kinds[n] == kind).any()]
    text = f"picture {one.id}, OKS {people.similarity[n, true]:.2f}, {_labelled((one, n))} keypoints"
    text += f": {', '.join(counts)}" if counts else ""
    boxes = np.stack([_found_box(one, n), boxes_of(people.truth)[true]])
    return Case(title, text, one, _region(boxes), n, true)


def _missed(errors: Sequence[PictureErrors]) -> list[Case]:
    """Return the case of whom nobody was found on and who has most keypoints labelled, of equal ones the largest."""
    truths = [(one, int(m)) for one in errors for m in np.flatnonzero(one.people.missed)]
    if not truths:
        return []
    one, m = max(truths, key=lambda pair: (pair[0].people.truth.labelled[pair[1]].sum(),
                                           pair[0].people.truth.areas[pair[1]]))  # fmt: skip
    text = f"picture {one.id}, {one.people.truth.labelled[m].sum()} keypoints"
    return [Case("Missed", text, one, _region(boxes_of(one.people.truth)[[m]]), true=m)]


def _false(errors: Sequence[PictureErrors]) -> list[Case]:
    """Return the case of the surest one found on nobody."""
    people = [(one, int(n)) for one in errors for n in np.flatnonzero(one.people.false)]
    if not people:
        return []
    one, n = max(people, key=lambda pair: pair[0].people.poses.scores[pair[1]])
    text = f"picture {one.id}, score {one.people.poses.scores[n]:.2f}"
    return [Case("Found on nobody, or twice", text, one, _region(_found_box(one, n)[None]), found=n)]


def _found_box(one: PictureErrors, n: int) -> np.ndarray:
    """Return the box around what is drawn of somebody found, or around all of it."""
    drawn = _is_drawn(one, n)
    points = one.people.poses.keypoints[n][drawn if drawn.any() else slice(None)]
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def _is_drawn(one: PictureErrors, n: int) -> np.ndarray:
    """Return which keypoints of somebody found are drawn: (K,) bool, the sure ones and the wrong ones."""
    return visible_keypoints(one.people.poses, n, MIN_SCORE) | (one.kinds[n] >= INVERSION)


def _region(boxes: np.ndarray) -> tuple[float, float, float, float]:
    """Return a square around all boxes."""
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    half = (0.5 + MARGIN) * float((high - low).max())
    (x, y) = (low + high) / 2
    return float(x - half), float(y - half), float(x + half), float(y + half)


def _panel(case: Case, left: float, top: float) -> list[str]:
    people = case.errors.people
    zoom = PANEL_PX / (case.region[2] - case.region[0])

    def at(points: np.ndarray) -> np.ndarray:
        return (np.asarray(points, dtype=np.float64) - case.region[:2]) * zoom

    parts = [f'<svg x="{left}" y="{top}" width="{PANEL_PX}" height="{PANEL_PX}" overflow="hidden">']
    parts.append('<rect width="100%" height="100%" fill="#fafafa" stroke="#dddddd"/>')
    truth = [
        (at(people.truth.keypoints[m, :, :2]), people.truth.labelled[m]) for m in np.flatnonzero(~people.truth.crowd)
    ]
    found = []
    if case.found >= 0:
        drawn = _is_drawn(case.errors, case.found)
        found.append((at(people.poses.keypoints[case.found]), drawn))
    parts += _people(people.poses.skeleton, truth, TRUE_COLOURS, 6)
    parts += _people(people.poses.skeleton, found, FOUND_COLOURS, 1.8)
    if case.found >= 0 and case.true >= 0:
        wrong = np.flatnonzero(case.errors.kinds[case.found] >= INVERSION)
        starts, ends = people.poses.keypoints[case.found], people.truth.keypoints[case.true, :, :2]
        parts += [_path([(at(starts[k]), at(ends[k])) for k in wrong], WRONG, 1.2, "1.5 3")] if len(wrong) else []
    elif case.true >= 0:
        parts.append(_frame(at(boxes_of(people.truth)[case.true].reshape(2, 2)), MISSED_FRAME))
    elif case.found >= 0:
        parts.append(_frame(at(_found_box(case.errors, case.found).reshape(2, 2)), FALSE_FRAME))
    caption = f'<text x="{left}" y="{{}}" font-size="{{}}" fill="#222222">{{}}</text>'
    first, *rest = case.text.split(": ", 1)
    words = [first, *rest]
    return [
        *parts,
        "</svg>",
        caption.format(top + PANEL_PX + 15, 13, f'<tspan font-weight="bold">{escape(case.title)}</tspan>'),
        *(caption.format(top + PANEL_PX + 29 + 13 * row, 11, escape(line)) for row, line in enumerate(words)),
    ]


def _people(
    skeleton: Skeleton, people: Sequence[tuple[np.ndarray, np.ndarray]], colours: dict[str, str], width: float
) -> list[str]:
    """Return a path for the limbs and one for the dots of each side, of all of whom something lies in the panel.

    people: places (K, 2) in the panel, and which are seen (K,) bool.
    """
    lines: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {side: [] for side in colours}
    dots: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {side: [] for side in colours}
    for points, visible in people:
        if not (visible & (points > 0).all(axis=1) & (points < PANEL_PX).all(axis=1)).any():
            continue
        for (a, b), names in zip(skeleton.limb_indices, skeleton.limbs, strict=True):
            if visible[a] and visible[b]:
                lines[side_of(*names)].append((points[a], points[b]))
        for k in np.flatnonzero(visible):
            dots[side_of(skeleton.keypoints[k])].append((points[k], points[k]))
    return [
        _path(drawn[side], colour, thickness)
        for drawn, thickness in ((lines, width), (dots, 1.7 * width))
        for side, colour in colours.items()
        if drawn[side]
    ]


def _path(lines: Sequence[tuple[np.ndarray, np.ndarray]], colour: str, width: float, dashes: str = "") -> str:
    drawn = ""
    for line in lines:
        start, end = (np.round(point).astype(int) for point in line)
        drawn += f"M{start[0]} {start[1]}l{end[0] - start[0]} {end[1] - start[1]}".replace(" -", "-")
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<path d="{drawn}" stroke="{colour}" stroke-width="{width:g}"{dashed}/>'


def _frame(corners: np.ndarray, colour: str) -> str:
    (x, y), (width, height) = corners[0], corners[1] - corners[0]
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" stroke="{colour}" '
        'stroke-width="1.5" stroke-dasharray="6 4"/>'
    )
