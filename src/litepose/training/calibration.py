"""Pictures on which BN statistics are measured: varied as in training, but none of a training's own draws."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litepose.datasets import SkipUnreadable, open_dataset
from litepose.errors import AnnotationError
from litepose.spec import InputSpec, PoseSpec
from litepose.training.data import CPU, Batch, TrainingSamples
from litepose.training.sources import VariedDataset


def picture_batches(
    samples: TrainingSamples,
    size: tuple[int, int],
    rule: InputSpec,
    *,
    batches: int,
    batch: int,
    device: torch.device = CPU,
) -> Iterator[Tensor]:
    """Yield (B, 3, h, w) network inputs of the draws after a training's last; the same ones at each call.

    size: (w, h).
    """
    for first in range(samples.total, samples.total + batches * batch, batch):
        images = [samples.sample(n, size).image for n in range(first, first + batch)]
        yield Batch(torch.from_numpy(np.stack(images)).to(device), None).normalised(rule)


def open_pictures(
    data: str | Path, spec: PoseSpec, *, images: str | Path | None = None, seed: int = 0
) -> TrainingSamples:
    """Return pictures of a data set (as `datasets.open_dataset` takes it), varied as the weights were trained.

    How they were trained stands in the spec's provenance; where it does not, pictures are varied as LitePose's authors
    do. Raises AnnotationError.
    """
    dataset = SkipUnreadable(open_dataset(data, images=images, skeleton=spec.skeleton))
    if not len(dataset):
        raise AnnotationError(f"{data} holds no pictures to measure statistics on. Give a set with some.")
    augment: dict[str, Any] = spec.provenance.get("recipe", {}).get("augment", {})
    source = VariedDataset(
        dataset,
        geometric=augment.get("geometric", {}),
        photometric=augment.get("photometric", {}),
        rule=spec.input,
    )
    size = spec.input.size
    return TrainingSamples(
        [source], [1.0], codec=spec.codec, size_at=lambda share: size, samples_per_step=1, total=0, seed=seed
    )
