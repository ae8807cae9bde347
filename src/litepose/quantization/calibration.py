"""What a model is calibrated with: network inputs of real pictures in which the float model finds people."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from litepose.errors import AnnotationError, PictureError, SettingError
from litepose.evaluation import Data
from litepose.metrics.protocols import Boxes
from litepose.poses import Sample
from litepose.predictor import Predictor

MIN_SCORE = 0.2  # whom `litepose predict` shows by default
MOST_CROPS = 4  # of one picture, or one crowd would be the calibration
LOOKS = 10  # pictures looked at for each one wanted, before it is said that there are no people


@dataclass(frozen=True)
class Calibration:
    """inputs: normalised (1, 3, H, W) float32 each, of sizes that may differ, in random order.

    pictures: that they come from. looked: pictures that were looked at. unreadable: among them.
    """

    inputs: tuple[np.ndarray, ...]
    pictures: int
    looked: int
    unreadable: int

    def some(self, number: int) -> tuple[np.ndarray, ...]:
        """Return that many inputs, those in all where there are fewer."""
        return self.inputs[:number]


def collect(
    predictor: Predictor,
    data: Data,
    *,
    pictures: int,
    boxes: Boxes | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Draw pictures until the float model has found people in `pictures` of them, as far as there are so many.

    boxes: of each sample's people, for a top-down model; None = from the predictor's detector.
    progress: called with (pictures taken, pictures wanted).
    Raises SettingError where people are found in none, AnnotationError where none can be read.
    """
    if pictures < 1:
        raise SettingError(f"Calibration needs pictures; asked for were {pictures}. Some 128 are enough.")
    assert data.dataset is not None, "only annotations were read"
    order = np.random.default_rng(seed).permutation(len(data.dataset))[: LOOKS * pictures]
    inputs: list[np.ndarray] = []
    taken = looked = unreadable = 0
    for index in order:
        looked += 1
        try:
            found = list(_inputs_with_people(predictor, data.dataset[int(index)], boxes))
        except PictureError:
            unreadable += 1
            continue
        inputs += found
        taken += bool(found)
        if progress is not None:
            progress(taken, pictures)
        if taken == pictures:
            break
    if not inputs:
        raise _nobody(predictor, data, looked, unreadable)
    return Calibration(tuple(inputs), taken, looked, unreadable)


def _inputs_with_people(predictor: Predictor, sample: Sample, boxes: Boxes | None) -> Iterator[np.ndarray]:
    """Yield the network inputs of the frames of a picture that show somebody."""
    image = sample.image
    for frame in predictor.frames(image, None if boxes is None else boxes(sample))[:MOST_CROPS]:
        tensors = [predictor.prepare(image, view) for view in frame.views]
        poses = predictor.decode([frame], iter(predictor.forward(tensors)))
        if (poses.scores >= MIN_SCORE).any():
            yield from (np.ascontiguousarray(tensor[None]) for tensor in tensors)


def _nobody(predictor: Predictor, data: Data, looked: int, unreadable: int) -> Exception:
    if unreadable == looked:
        return AnnotationError(
            f"{predictor.spec.model} was to be calibrated on {data.name}, but of its pictures none of {looked} could "
            "be read. Check the files."
        )
    where = "any box of" if predictor.takes_boxes else "any of"
    return SettingError(
        f"{predictor.spec.model} was to be calibrated on {data.name}, but it finds nobody in {where} the "
        f"{looked - unreadable} pictures looked at (score of at least {MIN_SCORE:g}), so the values that people cause "
        "in the network would be cut off. Give pictures with people, such as those that it was trained on."
    )
