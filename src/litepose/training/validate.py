"""The weights judged on the validation pictures: the loss, and COCO AP of the people that the predictor finds.

The same predictor and decoder as for any picture, so a training's AP is what `litepose eval` says of its weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from litepose.datasets import Dataset
from litepose.errors import PictureError, TrainingError
from litepose.geometry import Warp
from litepose.losses import AELoss
from litepose.metrics import coco
from litepose.metrics.truth import PictureTruth, Truth, truth_of
from litepose.poses import Poses, Sample
from litepose.predictor import Predictor
from litepose.runtimes.torch import compute
from litepose.spec import PoseSpec
from litepose.training.data import collate
from litepose.transforms import warp_sample

BATCH = 8


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

    def __init__(self, dataset: Dataset, spec: PoseSpec, loss: AELoss, *, device: str = "cpu", limit: int = 0) -> None:
        self.dataset, self.spec, self.loss = dataset, spec, loss
        self.device = torch.device(device)
        self.count = min(limit or len(dataset), len(dataset))

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Return the mean "loss" (pictures letterboxed to the spec's size) and "AP", "AP50", "AR" of a network."""
        network.eval()
        predictor = Predictor(LiveRuntime(network, self.spec, self.device))
        truths: list[PictureTruth] = []
        found: dict[Any, Poses] = {}  # by picture id
        losses: list[float] = []
        for samples in self._batches():
            truths += [truth_of(sample) for sample in samples]
            poses = predictor.batch([sample.image for sample in samples])
            found |= {sample.id: people for sample, people in zip(samples, poses, strict=True)}
            losses.append(self._loss(network, samples) * len(samples))
        if not truths:
            raise TrainingError(f"No picture of {self.dataset.name} can be read. Check the folder of its pictures.")
        stats = coco.evaluate_poses(Truth(self.spec.skeleton, tuple(truths)), found, self.spec.skeleton)
        return {"loss": sum(losses) / len(truths), "AP": stats.AP, "AP50": stats.AP50, "AR": stats.AR}

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

    def _loss(self, network: nn.Module, samples: list[Sample]) -> float:
        size = self.spec.input.size
        views = [warp_sample(sample, Warp.letterbox(sample.size, size)) for sample in samples]
        batch = collate([(view.image, self.spec.codec.encode(view, size)) for view in views], device=self.device)
        with torch.inference_mode():
            return float(self.loss(network(batch.normalised(self.spec.input)), batch.targets)["total"])
