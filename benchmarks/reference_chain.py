"""The reference pipeline's shape of work from a JPEG file to people, written for benchmarks/chain.py.

Steps, their order and the library that takes each are those of mit-han-lab/litepose@00b702d (valid.py, and the parser
in lib/core/group.py, whose loops index torch tensors cell by cell); the code is ours. What it finds is what the codec's
mode "exact" finds, up to the order of equal candidates.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from litepose.codecs.grouping import keypoint_order
from litepose.geometry import Warp, size_of

THRESHOLD, TAG_THRESHOLD, MOST = 0.1, 1.0, 30


class ReferenceChain:
    """Reads, prepares, computes and decodes one picture after the other by the straight way."""

    def __init__(self, runtime: Any) -> None:
        self.runtime, self.input = runtime, runtime.spec.input
        self.num_keypoints = runtime.spec.skeleton.num_keypoints

    def __call__(self, picture: bytes) -> tuple[list[float], int]:
        """Return ms of read, pre, network, decode and the whole, and the number of people."""
        marks = [time.process_time_ns()]
        image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        marks.append(time.process_time_ns())
        warp = Warp.letterbox(size_of(image), self.runtime.size)
        tensor = torch.from_numpy(warp.image(image)).permute(2, 0, 1).contiguous().float().div(255)
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.input.mean, self.input.std))
        tensor = tensor.sub_(mean).div_(std)[None]
        marks.append(time.process_time_ns())
        outputs = self.runtime(tensor.numpy())
        marks.append(time.process_time_ns())
        people = self.decode([torch.from_numpy(one) for one in outputs], warp)
        marks.append(time.process_time_ns())
        steps = [b - a for a, b in itertools.pairwise(marks)]
        return [step / 1e6 for step in (*steps, marks[-1] - marks[0])], len(people)

    def decode(self, outputs: list[torch.Tensor], warp: Warp) -> list[np.ndarray]:
        """Return the people, (K, 3 + T) each, in picture pixels."""
        coarse, fine = outputs
        coarse = enlarged(coarse, fine.shape[2:])
        heatmaps = (0 + coarse[:, : self.num_keypoints] + fine) / 2
        whole = warp.size[::-1]
        heatmaps, tags = enlarged(heatmaps, whole), enlarged(coarse[:, self.num_keypoints :], whole)
        heatmaps, tags = heatmaps / 1.0, torch.cat([tags[..., None]], dim=4)  # over scales, of which there is one
        return [in_picture(person, warp) for person in parsed(heatmaps, tags)]


def parsed(heatmaps: torch.Tensor, tags: torch.Tensor) -> list[np.ndarray]:
    """Return the people in (1, K, h, w) heatmaps and (1, K, h, w, T) tags: x, y in cells, heat and tags, (K, 3 + T)."""
    people = grouped(*best_peaks(heatmaps, tags), heatmaps.shape[1])
    for person in people:
        adjust(heatmaps[0], person)
    return [refined(heatmaps[0], tags[0], person) for person in people]


def enlarged(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def best_peaks(heatmaps: torch.Tensor, tags: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return heats (K, M), places (K, M, 2) and tags (K, M, T) of each map's highest peaks."""
    highest = F.max_pool2d(heatmaps, 5, 1, 2)
    peaks = heatmaps * torch.eq(highest, heatmaps).float()
    count, num_keypoints, height, width = peaks.shape
    heats, places = peaks.view(count, num_keypoints, -1).topk(MOST, dim=2)
    flat = tags.view(count, num_keypoints, height * width, -1)
    chosen = torch.stack([torch.gather(flat[..., t], 2, places) for t in range(flat.shape[3])], dim=3)
    cells = torch.stack((places % width, places // width), dim=3)
    return heats[0].numpy(), cells[0].numpy(), chosen[0].numpy()


def grouped(heats: np.ndarray, cells: np.ndarray, tags: np.ndarray, num_keypoints: int) -> list[np.ndarray]:
    """Return people as (K, 3 + T) arrays, by the Hungarian method of the package munkres."""
    from munkres import Munkres

    people: dict[float, np.ndarray] = {}
    given: dict[float, list[np.ndarray]] = {}
    for k in keypoint_order(num_keypoints):
        rows = np.concatenate((cells[k], heats[k][:, None], tags[k]), axis=1)[heats[k] > THRESHOLD]
        if not len(rows):
            continue
        columns = [-1] * len(rows)
        keys = list(people)[:MOST]
        if people:
            means = np.array([np.mean(given[key], axis=0) for key in keys])
            distances = np.linalg.norm(rows[:, None, 3:] - means[None], ord=2, axis=2)
            costs = np.round(distances) * 100 - rows[:, 2:3]
            if len(rows) > len(keys):
                costs = np.concatenate((costs, np.zeros((len(rows), len(rows) - len(keys))) + 1e10), axis=1)
            for row, column in Munkres().compute(costs.copy()):
                if row < len(rows) and column < len(keys) and distances[row, column] < TAG_THRESHOLD:
                    columns[row] = column
        for row, column in zip(rows, columns, strict=True):
            key = keys[column] if column >= 0 else float(row[3])
            if column < 0:
                people.setdefault(key, np.zeros((num_keypoints, rows.shape[1]), dtype=np.float32))
                given[key] = []
            people[key][k] = row
            given[key].append(row[3:])
    return list(people.values())


def adjust(heatmaps: torch.Tensor, person: np.ndarray) -> None:
    """Move each keypoint found a quarter towards the higher neighbour, and to the cell's centre, in place."""
    for keypoint, place in enumerate(person):
        if place[2] > 0:
            place[:2] = moved(heatmaps[keypoint], int(place[0]), int(place[1]))


def moved(heatmap: torch.Tensor, x: int, y: int) -> tuple[float, float]:
    height, width = heatmap.shape
    right = heatmap[y, min(x + 1, width - 1)] > heatmap[y, max(x - 1, 0)]
    below = heatmap[min(y + 1, height - 1), x] > heatmap[max(y - 1, 0), x]
    return x + (0.75 if right else 0.25), y + (0.75 if below else 0.25)


def refined(heatmaps: torch.Tensor, tags: torch.Tensor, person: np.ndarray) -> np.ndarray:
    """Return the person with missing keypoints filled in, after looking at the whole maps of all."""
    seen = [tags[k, int(y), int(x)][None] for k, (x, y, heat) in enumerate(person[:, :3]) if heat > 0]
    mean = torch.mean(torch.cat(seen), dim=0)
    distance = ((tags - mean[None, None, None]) ** 2).sum(dim=3) ** 0.5
    num_keypoints, _, width = distance.shape
    best = (heatmaps - torch.round(distance)).view(num_keypoints, -1).argmax(dim=1).tolist()
    answers = []
    for heatmap, cell in zip(heatmaps, best, strict=True):
        x, y = cell % width, cell // width
        answers.append((*moved(heatmap, x, y), heatmap[y, x]))
    for keypoint, answer in zip(person, answers, strict=True):
        if answer[2] > 0 and keypoint[2] == 0:
            keypoint[:3] = answer
    return person


def in_picture(person: np.ndarray, warp: Warp) -> np.ndarray:
    """Return a person's (K, 3 + T) in picture pixels, keypoint by keypoint."""
    matrix = cv2.invertAffineTransform(warp.matrix)
    placed = person.copy()
    for keypoint in placed:
        keypoint[:2] = np.dot(matrix, np.array([keypoint[0], keypoint[1], 1.0]))
    return placed
