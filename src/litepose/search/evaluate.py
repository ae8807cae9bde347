"""How accurate a network of a supernet is: cut out, BN statistics measured anew, people looked for in pictures.

As in mit-han-lab/litepose@00b702d (search.py), nothing is trained. What differs: the statistics are measured from
nothing on a few batches, the same pictures for every network; theirs drift over a whole split from where they were.
Pictures are those of the training, split by `litepose data split`: what a search chooses by is no longer unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litepose import supernet as supernets
from litepose.errors import SettingError
from litepose.evaluation import choose_protocol, open_data
from litepose.files import short_name
from litepose.metrics.report import evaluate
from litepose.predictor import Predictor
from litepose.training.calibration import open_pictures
from litepose.training.data import Batch
from litepose.training.start import open_device
from litepose.training.validate import LiveRuntime

MEASURES = ("AP", "OKS")
BATCHES, BATCH = 8, 16


class SupernetAccuracy:
    """Calls to it measure one arch each; it opens its files in the process that calls first.

    supernet: a checkpoint. data, images: annotated pictures as `litepose eval` takes them.
    calibration, calibration_images: pictures for the statistics, None = those of data; batches: of 16 of them.
    measure: what counts: "AP", or "OKS", the mean over true people of whoever found is most like them: it tells weak
        networks apart where AP is 0 throughout. limit: look at the first pictures only.
    threads: of PyTorch, None = as they are.
    """

    def __init__(
        self,
        supernet: str | Path,
        data: str | Path,
        *,
        images: str | Path | None = None,
        calibration: str | Path | None = None,
        calibration_images: str | Path | None = None,
        batches: int = BATCHES,
        measure: str = "AP",
        limit: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        if measure not in MEASURES:
            raise SettingError(f"A search cannot go by {measure!r}. Possible: {', '.join(MEASURES)}.")
        self.supernet, self.data, self.images = Path(supernet), data, images
        self.calibration = (data, images) if calibration is None else (calibration, calibration_images)
        self.batches, self.measure, self.limit = batches, measure, limit
        self.seed, self.device, self.threads = seed, device, threads
        self._opened: _Opened | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def __call__(self, arch: Mapping[str, Any]) -> dict[str, float]:
        """Return {"accuracy", "AP", "OKS", ...} of an arch, at its own input size."""
        if self._opened is None:
            self._opened = _Opened(self)
        found = self._opened.measure(arch)
        return {"accuracy": found[self.measure], **found}

    def about(self) -> dict[str, Any]:
        """Return what results depend on, as plain values: weights, data, settings."""
        return {
            "supernet_sha256": hashlib.sha256(self.supernet.read_bytes()).hexdigest(),
            "data": _identity(self.data),
            "calibration": _identity(self.calibration[0]),
            "calibration_pictures": self.batches * BATCH,
            "measure": self.measure,
            "limit": self.limit,
        }


class _Opened:
    """The files of a SupernetAccuracy, open."""

    def __init__(self, asked: SupernetAccuracy) -> None:
        if asked.threads is not None:
            torch.set_num_threads(asked.threads)
        self.device = open_device(asked.device)
        self.supernet = supernets.load(asked.supernet)
        spec = self.supernet.spec
        _check_unseen(asked.data, spec.provenance)
        self.data = open_data(asked.data, images=asked.images, skeleton=spec.skeleton)
        if not self.data.is_annotated:
            raise SettingError(f"A search measures accuracy on annotated pictures; {asked.data} has no annotations.")
        self.limit = asked.limit
        data, images = asked.calibration
        self.samples = open_pictures(data, spec, images=images, seed=asked.seed)
        self.count = asked.batches * BATCH
        self._pictures: dict[tuple[int, int], np.ndarray] = {}  # (B, H, W, 3) uint8 by input size

    def measure(self, arch: Mapping[str, Any]) -> dict[str, float]:
        network, spec = self.supernet.sub_network(arch)
        network.to(self.device)
        supernets.recalibrate(network, self._batches(spec.input))
        finder = Predictor(LiveRuntime(network, spec, self.device))
        assert self.data.dataset is not None, "open_data opens pictures"
        report = evaluate(
            finder, self.data.dataset, protocol=choose_protocol(self.data, None, finder=finder), limit=self.limit
        )
        scores = report.to_json()
        return {"AP": scores["stats"]["AP"], "AP50": scores["stats"]["AP50"], "OKS": scores["OKS"]}

    def _batches(self, rule: Any) -> Iterator[Tensor]:
        """Yield the same varied pictures for every arch of one input size."""
        size = rule.size
        if size not in self._pictures:
            self._pictures[size] = np.stack([self.samples.sample(n, size).image for n in range(self.count)])
        for first in range(0, self.count, BATCH):
            images = torch.from_numpy(self._pictures[size][first : first + BATCH])
            yield Batch(images.to(self.device), None).normalised(rule)


def _check_unseen(data: str | Path, provenance: Mapping[str, Any]) -> None:
    """Raise SettingError for the pictures on which the supernet's training is judged."""
    validation = (provenance.get("recipe", {}).get("data", {}) or {}).get("validation") or {}
    source = validation.get("source") if isinstance(validation, Mapping) else None
    if source is not None and short_name(source) == short_name(data):
        raise SettingError(
            f"--data {data} is the validation set of this supernet. What a search chooses by judges nothing any more: "
            "take a part of the training pictures, as `litepose data split TRAIN.json` makes it."
        )


def _identity(data: str | Path) -> str:
    """Return a data set's short name, with the checksum of its file where it is one."""
    path = Path(data)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else ""
    return f"{short_name(data)} {checksum}".strip()
