"""Validation pictures with what a network finds in them, for looking at during a training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from torch import nn

from litepose import drawing
from litepose.codecs import HeatmapCodec
from litepose.detectors import truth_boxes
from litepose.geometry import size_of
from litepose.poses import Sample
from litepose.predictor import Predictor
from litepose.training.validate import LiveRuntime, Validation

PICTURES = 4  # the first ones with people
LOOKED_AT = 40  # pictures at most, to find them
LONGEST_PX = 400


def shown_predictions(validation: Any, network: nn.Module) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, picture (H, W, 3) uint8 BGR) for a few pictures: the people found, beside the heatmaps.

    validation: a `Validation`; of anything else that judges networks nothing is shown. network: in eval mode.
    """
    if not isinstance(validation, Validation):
        return
    predictor = Predictor(LiveRuntime(network, validation.spec, validation.device))
    for sample in _with_people(validation):
        yield str(sample.id), _drawn(sample, predictor, top_down=validation.top_down)


def _with_people(validation: Validation) -> list[Sample]:
    samples: list[Sample] = []
    for index in range(min(validation.count, LOOKED_AT)):
        if len(samples) < PICTURES:
            samples += [one for one in validation.readable(index) if one.visible.any()]
    return samples


def _drawn(sample: Sample, predictor: Predictor, *, top_down: bool) -> np.ndarray:
    boxes = truth_boxes(sample)[0] if top_down else None
    (people,) = predictor.batch([sample.image], None if boxes is None else [boxes])
    found = drawing.draw(sample.image, people)
    heat = sample.image
    for box in [None] if boxes is None else [one[:4] for one in boxes]:
        maps = predictor.maps(sample.image, box)
        heat = drawing.draw_heatmap(heat, _heat_of(maps, predictor), predictor.frame(size_of(sample.image), box))
    both = np.concatenate([found, heat], axis=1)
    zoom = min(1.0, LONGEST_PX / max(sample.size))
    return cv2.resize(both, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA) if zoom < 1 else both


def _heat_of(maps: Any, predictor: Predictor) -> np.ndarray:
    """Return the highest heat over all keypoints: (h, w) float32, 1 = as high as a target."""
    codec = predictor.codec
    heatmaps = np.asarray(getattr(maps, "heatmaps", maps))
    if isinstance(codec, HeatmapCodec):
        heatmaps = heatmaps[:: codec.maps_per_keypoint] / (255.0 if codec.encoding == "megvii" else 1.0)
    heatmap: np.ndarray = heatmaps.max(axis=0)
    return heatmap.astype(np.float32)
