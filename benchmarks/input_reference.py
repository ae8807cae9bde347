"""One training sample step by step as the LitePose authors' data loader makes it, for comparison with ours.

Written for the benchmark, from what mit-han-lab/litepose@00b702d does (lib/dataset): the original picture is read at
every draw; picture and masks are warped each by itself, the masks once for each output; the picture becomes normalised
floats and the heatmaps are drawn, keypoint by keypoint, on the processor; batches are stacked by torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from litepose.datasets.masks import mask_from_segmentation
from litepose.geometry import Warp
from litepose.skeleton import COCO17
from litepose.spec import IMAGENET_MEAN, IMAGENET_STD

STRIDES, SIGMA, MOST_PEOPLE = (4, 2), 2, 30
ZOOM, ROTATION_DEG, TRANSLATE_PX = (0.75, 1.5), 30.0, 40.0
K = COCO17.num_keypoints
MIRROR = COCO17.mirror_indices


class ReferenceSamples(torch.utils.data.Dataset[Any]):
    """The samples of a COCO file with 17 keypoints whose pictures lie in `images`; side: of the square input, px."""

    def __init__(self, annotations: Path, images: Path, *, side: int, seed: int = 0) -> None:
        data = json.loads(annotations.read_bytes())
        self.pictures = data["images"]
        self.paths = [str(images / picture["file_name"]) for picture in self.pictures]
        self.people: dict[Any, list[dict[str, Any]]] = {picture["id"]: [] for picture in self.pictures}
        for one in data["annotations"]:
            self.people[one["image_id"]].append(one)
        self.side, self.rng = side, np.random.default_rng(seed)
        self.gaussian = gaussian(SIGMA)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, list[Tensor], list[Tensor], list[Tensor]]:
        image = cv2.imread(self.paths[index], cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        annotations = self.people[self.pictures[index]["id"]]
        mask = usable_area(annotations, image.shape[:2])
        keypoints = keypoints_of(annotations)
        image, masks, places = self._varied(image, mask, keypoints)
        heatmaps = [
            draw_heatmaps(one, self.side // stride, self.gaussian) for one, stride in zip(places, STRIDES, strict=True)
        ]
        tags = [tag_places(one, self.side // stride) for one, stride in zip(places, STRIDES, strict=True)]
        return (
            normalised(image),
            [torch.from_numpy(one) for one in heatmaps],
            [torch.from_numpy(one.astype(np.float32)) for one in masks],
            [torch.from_numpy(one) for one in tags],
        )

    def _varied(
        self, image: np.ndarray, mask: np.ndarray, keypoints: np.ndarray
    ) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """Return the warped picture, and for each output the mask and the keypoints in its cells."""
        height, width = image.shape[:2]
        scale = min(height, width) / 200 * self.rng.uniform(*ZOOM)
        rotation = self.rng.uniform(-ROTATION_DEG, ROTATION_DEG)
        reach = int(TRANSLATE_PX * scale)
        dx, dy = self.rng.integers(-reach, reach + 1, size=2)
        center = np.array([width * 0.5 + dx, height * 0.5 + dy])
        mirrored = self.rng.random() < 0.5
        masks, places = [], []
        for stride in STRIDES:
            cells = self.side // stride
            warp = Warp.hrnet(center, scale, rotation, (cells, cells))
            warped = warp.image((mask * 255).astype(np.uint8)) / 255
            moved = keypoints.copy()
            moved[..., :2] = warp.points(moved[..., :2])
            if mirrored:
                warped = warped[:, ::-1].copy()
                moved = moved[:, MIRROR]
                moved[..., 0] = cells - 1 - moved[..., 0]
            masks.append(warped > 0.5)
            places.append(moved)
        image = Warp.hrnet(center, scale, rotation, (self.side, self.side)).image(image)
        return image[:, ::-1].copy() if mirrored else image, masks, places


def usable_area(annotations: list[dict[str, Any]], shape: tuple[int, ...]) -> np.ndarray:
    """Return where may be learned: (h, w) bool, False in crowds and on people without keypoints."""
    height, width = shape
    mask = np.zeros((height, width), dtype=bool)
    for one in annotations:
        if one["iscrowd"] or not one["num_keypoints"]:
            mask |= mask_from_segmentation(one.get("segmentation"), (width, height))
    return ~mask


def keypoints_of(annotations: list[dict[str, Any]]) -> np.ndarray:
    """Return the people with keypoints: (N, 17, 3) float64."""
    people = [one for one in annotations if not one["iscrowd"] and one["num_keypoints"]]
    return np.array([one["keypoints"] for one in people], dtype=np.float64).reshape(len(people), K, 3)


def gaussian(sigma: int) -> np.ndarray:
    axis = np.arange(0, 6 * sigma + 3, 1, float)
    top = 3 * sigma + 1
    return np.exp(-((axis - top) ** 2 + (axis[:, None] - top) ** 2) / (2 * sigma**2))


def draw_heatmaps(keypoints: np.ndarray, cells: int, patch: np.ndarray) -> np.ndarray:
    maps = np.zeros((K, cells, cells), dtype=np.float32)
    reach = 3 * SIGMA + 1
    for person in keypoints:
        for k, place in enumerate(person):
            if place[2] <= 0:
                continue
            x, y = int(place[0]), int(place[1])
            if x < 0 or y < 0 or x >= cells or y >= cells:
                continue
            left, top, right, bottom = x - reach, y - reach, x + reach + 1, y + reach + 1
            part = patch[max(0, -top) : min(bottom, cells) - top, max(0, -left) : min(right, cells) - left]
            rows, columns = slice(max(0, top), min(bottom, cells)), slice(max(0, left), min(right, cells))
            maps[k, rows, columns] = np.maximum(maps[k, rows, columns], part)
    return maps


def tag_places(keypoints: np.ndarray, cells: int) -> np.ndarray:
    """Return the flat cell of each visible keypoint in the tag maps, packed to the front: (30, 17, 2) int64."""
    found = np.zeros((MOST_PEOPLE, K, 2), dtype=np.int64)
    for n, person in enumerate(keypoints[:MOST_PEOPLE]):
        total = 0
        for k, place in enumerate(person):
            x, y = int(place[0]), int(place[1])
            if place[2] > 0 and 0 <= x < cells and 0 <= y < cells:
                found[n, total] = (k * cells**2 + y * cells + x, 1)
                total += 1
    return found


def normalised(image: np.ndarray) -> Tensor:
    """Return the picture as the transforms of torchvision give it: (3, h, w) float32."""
    tensor = torch.from_numpy(image).permute(2, 0, 1).contiguous().float().div(255)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return tensor.sub_(mean).div_(std)
