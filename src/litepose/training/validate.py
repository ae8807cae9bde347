"""The weights judged on the validation pictures: the loss, and COCO AP of the people that the predictor finds.

The same predictor and decoder as for any picture, so a training's AP is what `litepose eval` says of its weights (of
top-down models: with `--boxes gt`, the annotated boxes).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from litepose.crops import crop_person
from litepose.datasets import Dataset, Remapped, remap
from litepose.detectors import truth_boxes
from litepose.errors import PictureError, TrainingError
from litepose.geometry import Warp
from litepose.losses import Loss
from litepose.metrics import coco
from litepose.metrics.truth import PictureTruth, Truth, truth_of
from litepose.poses import Poses, Sample
from litepose.predictor import Predictor
from litepose.runtimes.torch import compute
from litepose.skeleton import Skeleton
from litepose.spec import BOX_RULES, PoseSpec
from litepose.training.data import collate
from litepose.transforms import warp_sample

BATCH = 8
CROPS = 32  # of a loss; a batch of pictures may show a crowd


class LiveRuntime:
    """A network in memory as a runtime of the predictor."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[str] = "litepose[train]"

    def __init__(self, network: nn.Module, spec: PoseSpec, device: torch.device) -> None:
        self.network, self.spec, self.device = network, spec, device
        self.size: tuple[int, int] | None = None
        self.threads = torch.get_num_threads()

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """See Runtime."""
        return compute(self.network, batch, self.device)


class Validation:
    """Judges networks on one data set. limit: only its first so many pictures; 0 = all."""

    def __init__(
        self,
        dataset: Dataset,
        spec: PoseSpec,
        loss: Loss,
        *,
        device: str = "cpu",
        limit: int = 0,
    ) -> None:
        self.dataset, self.spec, self.loss = dataset, spec, loss
        self.device = torch.device(device)
        self.count = min(limit or len(dataset), len(dataset))
        self.top_down = spec.input.resize in BOX_RULES
        self.judged = _judged_on(dataset, spec.skeleton)

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return the mean "loss" and "AP", "AP50", "AR" of a network.

        loss: over the pictures, letterboxed to the spec's size; of a top-down model over the people's crops.
        """
        network.eval()
        predictor = Predictor(LiveRuntime(network, self.spec, self.device))
        truths: list[PictureTruth] = []
        found: dict[Any, Poses] = {}  # by picture id
        losses: list[float] = []  # of each picture or crop
        for samples in self._batches():
            truths += [truth_of(remap(sample, self.judged)) for sample in samples]
            boxes = [truth_boxes(sample)[0] for sample in samples] if self.top_down else None
            poses = predictor.batch([sample.image for sample in samples], boxes)
            found |= {sample.id: people for sample, people in zip(samples, poses, strict=True)}
            losses += self._losses(network, samples)
        if not truths:
            raise TrainingError(f"No picture of {self.dataset.name} can be read. Check the folder of its pictures.")
        found = {key: people.mapped_to(self.judged) for key, people in found.items()}
        stats = coco.evaluate_poses(Truth(self.judged, tuple(truths)), found, self.judged)
        mean = float(np.mean(losses)) if losses else 0.0  # no person to be looked at: nothing to be wrong about
        return {"loss": mean, "AP": stats.AP, "AP50": stats.AP50, "AR": stats.AR}

    def _batches(self) -> Iterator[list[Sample]]:
        samples: list[Sample] = []
        for i in range(self.count):
            try:
                samples.append(self.dataset[i])
            except PictureError as error:
                warnings.warn(f"{self.dataset.name}: picture left out: {error}", stacklevel=2)
            if len(samples) == BATCH:
                yield samples
                samples = []
        if samples:
            yield samples

    def _losses(self, network: nn.Module, samples: list[Sample]) -> list[float]:
        """Return the mean loss of each chunk of views, once for each view of it."""
        size, losses = self.spec.input.size, []
        views = [view for sample in samples for view in self._views(sample)]
        for first in range(0, len(views), CROPS):
            chunk = views[first : first + CROPS]
            batch = collate([(view.image, self.spec.codec.encode(view, size)) for view in chunk], device=self.device)
            with torch.inference_mode():
                loss = self.loss(network(batch.normalised(self.spec.input)), batch.targets)["total"]
            losses += [float(loss)] * len(chunk)
        return losses

    def _views(self, sample: Sample) -> list[Sample]:
        """Return what the network sees of a sample: the picture, or a crop for each person with a usable box."""
        size, udp = self.spec.input.size, self.spec.input.resize == "box_udp"
        if not self.top_down:
            return [warp_sample(sample, Warp.letterbox(sample.size, size))]
        boxes, people = truth_boxes(sample)
        warps = (Warp.box(box[:4], size, udp=udp) for box in boxes)
        return [crop_person(sample, int(n), warp) for n, warp in zip(people, warps, strict=True)]


def _judged_on(dataset: Dataset, skeleton: Skeleton) -> Skeleton:
    """Return the data's own skeleton where `skeleton` holds it: a neck made of COCO's shoulders is not scored."""
    if isinstance(dataset, Remapped) and set(dataset.dataset.skeleton.keypoints) <= set(skeleton.keypoints):
        return dataset.dataset.skeleton
    return skeleton
