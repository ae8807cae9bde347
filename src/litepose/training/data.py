"""Which sample is drawn at which step, and its way to the device.

The n-th sample of a run is a function of (seed, n) alone: so neither the number of worker processes nor an
interruption changes what a network sees, and a resumed run goes on with the very next picture.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import signal
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, Literal, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor

from litepose.codecs import Codec
from litepose.codecs.ae_targets import AEPlan
from litepose.codecs.heatmap_targets import HeatmapPlan
from litepose.codecs.heatmap_targets import draw as draw_heatmaps
from litepose.poses import Sample
from litepose.spec import InputSpec
from litepose.training.packing import Packed, pack
from litepose.training.points import AEPoints, draw_batch, gather

BLOCK = 1000  # draws in which every source gets its exact share
AHEAD = 2  # batches that each loader process prepares in advance
CPU = torch.device("cpu")


class Source(Protocol):
    """A dataset whose samples are already varied: `draw(index, size, rng)` gives one in the frame of the input."""

    name: str

    @property
    def unreadable(self) -> Sequence[int | str]: ...

    def __len__(self) -> int: ...

    def draw(self, index: int, size: tuple[int, int], rng: np.random.Generator) -> Sample: ...


class DrawPlan:
    """Which source the n-th draw takes and which of its samples.

    Of every BLOCK draws each source gets its share, in random order; inside a source every sample comes once before
    any comes again. Pure in (seed, n); what it keeps is only a cache.
    """

    def __init__(self, lengths: Sequence[int], weights: Sequence[float], seed: int) -> None:
        self.lengths = tuple(lengths)
        self.shares = whole_shares(weights, BLOCK)
        self.seed = seed
        self._cache: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, n: int) -> tuple[int, int]:
        """Return (source, index in it) of draw `n`."""
        block, slot = divmod(n, BLOCK)
        source, earlier = self._kept((0, block), self._block)[slot].tolist()
        lap, position = divmod(block * self.shares[source] + earlier, self.lengths[source])
        return source, int(self._kept((1, source, lap), self._lap)[position])

    def _block(self, key: tuple[int, ...]) -> np.ndarray:
        """Return the source of each draw of a block and how many draws of that source came before: (BLOCK, 2)."""
        sources = np.arange(len(self.shares))
        order = np.random.default_rng([self.seed, *key]).permutation(np.repeat(sources, self.shares))
        earlier = np.empty_like(order)
        for source, share in zip(sources, self.shares, strict=True):
            earlier[order == source] = np.arange(share)
        return np.stack([order, earlier], axis=1)

    def _lap(self, key: tuple[int, ...]) -> np.ndarray:
        """Return all samples of a source in the order in which a lap takes them."""
        return np.random.default_rng([self.seed, *key]).permutation(np.arange(self.lengths[key[1]]))

    def _kept(self, key: tuple[int, ...], make: Callable[[tuple[int, ...]], np.ndarray]) -> np.ndarray:
        if key not in self._cache:
            while len(self._cache) > 4 * len(self.lengths):
                del self._cache[next(iter(self._cache))]
            self._cache[key] = make(key)
        return self._cache[key]


def whole_shares(weights: Sequence[float], total: int) -> tuple[int, ...]:
    """Split `total` into whole numbers in proportion to `weights` (largest remainders), at least 1 each."""
    exact = np.asarray(weights, dtype=np.float64) / sum(weights) * total
    shares = np.maximum(1, np.floor(exact).astype(int))
    for i in np.argsort(shares - exact, kind="stable")[: max(0, total - shares.sum())]:
        shares[i] += 1
    shares[int(np.argmax(shares))] -= max(0, shares.sum() - total)
    return tuple(int(share) for share in shares)


class TrainingSamples(torch.utils.data.Dataset[tuple[np.ndarray, Any]]):
    """The run's samples by their number: pictures (H, W, 3) uint8 BGR with the codec's targets.

    size_at: share of the run -> input size (w, h). total: samples in the whole run.
    targets: who draws them: "worker" = the loader processes; "device" = the device that trains, from the codec's plan.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        weights: Sequence[float],
        *,
        codec: Codec,
        size_at: Callable[[float], tuple[int, int]],
        samples_per_step: int,
        total: int,
        seed: int,
        targets: Literal["worker", "device"] = "device",
    ) -> None:
        self.sources = tuple(sources)
        self.plan = DrawPlan([len(source) for source in sources], weights, seed)
        self.encode = codec.encode if targets == "worker" else codec.plan
        self.size_at = size_at
        self.samples_per_step = samples_per_step
        self.total = total
        self.seed = seed

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, n: int) -> tuple[np.ndarray, Any]:
        sample, size = self.draw(n)
        return np.ascontiguousarray(sample.image), self.encode(sample, size)

    def draw(self, n: int) -> tuple[Sample, tuple[int, int]]:
        """Return the n-th sample of the run, varied, in the frame of its input, and the input's size (w, h)."""
        first_of_step = n - n % self.samples_per_step
        size = self.size_at(first_of_step / self.total)
        return self.sample(n, size), size

    def sample(self, n: int, size: tuple[int, int]) -> Sample:
        """Return the n-th sample in the frame of a (w, h) input; `n` may lie beyond the run's end."""
        source, index = self.plan(n)
        return self.sources[source].draw(index, size, np.random.default_rng([self.seed, 2, n]))


@dataclasses.dataclass(frozen=True)
class Batch:
    """One step's pictures, (B, H, W, 3) uint8 BGR, and targets (the codec's dataclass, of tensors) or their points."""

    images: Any
    targets: Any

    def drawn_targets(self) -> Any:
        """Return the targets, where they were sent as points or profiles drawn now, on the device that holds them."""
        if isinstance(self.targets, HeatmapPlan):
            return draw_heatmaps(self.targets)
        return draw_batch(self.targets) if isinstance(self.targets, AEPoints) else self.targets

    def parts(self, count: int) -> list[Batch]:
        """Return the batch cut into so many equal ones, targets drawn."""
        whole = Batch(self.images, self.drawn_targets())
        if count == 1:
            return [whole]
        total = len(self.images)
        return [_rows(whole, first, first + total // count) for first in range(0, total, total // count)]

    def normalised(self, rule: InputSpec) -> Tensor:
        """Return the network's input, (B, 3, H, W) float32, computed where the pictures are."""
        images: Tensor = self.images.permute(0, 3, 1, 2).float()
        if rule.colour == "RGB":
            images = images.flip(1)
        mean, std = _mean_and_std(rule, images.device)
        return (images - mean) / std


def _rows(value: Any, first: int, last: int) -> Any:
    """Return some rows of a tensor, or of every tensor in a tuple or dataclass."""
    if isinstance(value, Tensor):
        return value[first:last]
    if isinstance(value, tuple):
        return tuple(_rows(one, first, last) for one in value)
    fields = {field.name: _rows(getattr(value, field.name), first, last) for field in dataclasses.fields(value)}
    return type(value)(**fields)


@functools.lru_cache(maxsize=8)
def _mean_and_std(rule: InputSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return both in grey levels, (1, 3, 1, 1); kept, because a small copy to a GPU waits for all work there."""
    with torch.inference_mode(False):
        values = torch.tensor([rule.mean, rule.std]).view(2, 1, 3, 1, 1) * 255
        mean, std = values.to(device)
    return mean, std


def batches(
    samples: TrainingSamples,
    *,
    first_step: int,
    last_step: int,
    batch: int,
    workers: int,
    rank: int = 0,
    world: int = 1,
    device: torch.device = CPU,
) -> Iterator[Batch]:
    """Yield the batches of the steps from `first_step` up to, not including, `last_step`, in order, on `device`.

    Of the batch * world samples of a step, this process takes the ones of its rank. The loader processes live as long
    as the iterator. Copies to a GPU come from pinned memory and do not wait for the work there.
    """
    first_samples = ((step * world + rank) * batch for step in range(first_step, last_step))
    steps = (list(range(first, first + batch)) for first in first_samples)  # one by one: a long run has a million
    loader = torch.utils.data.DataLoader(
        samples,
        batch_sampler=steps,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=device.type == "cuda",
        collate_fn=pack_batch,
        worker_init_fn=_prepare_worker,
        generator=torch.Generator(),  # its own, so that loading draws nothing from the global one
    )
    for packed in loader:
        yield packed.to(device).unpack()


def collate(samples: Sequence[tuple[np.ndarray, Any]], *, device: torch.device = CPU) -> Batch:
    """Stack samples of one size into a batch on `device`."""
    batch: Batch = pack_batch(samples).to(device).unpack()
    return batch


def pack_batch(samples: Sequence[tuple[np.ndarray, Any]]) -> Packed:
    """Stack samples of one size, pictures with their targets or plans, into the block of a `Batch`."""
    images, targets = zip(*samples, strict=True)
    joined = gather(targets) if isinstance(targets[0], AEPlan) else stack_targets(targets)
    return pack(Batch(list(images), joined))


def stack_targets(targets: Sequence[Any]) -> Any:
    """Return the codec's dataclass with a list of all samples' arrays for every array, also inside tuples."""
    stacked: dict[str, Any] = {}
    for field in dataclasses.fields(targets[0]):
        values = [getattr(one, field.name) for one in targets]
        if isinstance(values[0], tuple):
            stacked[field.name] = tuple(_alike(parts) for parts in zip(*values, strict=True))
        else:
            stacked[field.name] = _alike(values)
    return type(targets[0])(**stacked)


def steps_per_epoch(epoch_samples: int, sources: Sequence[Source], samples_per_step: int) -> int:
    """Return the updates of one epoch; `epoch_samples` 0 = as many as the sources hold together."""
    return max(1, math.ceil((epoch_samples or sum(len(source) for source in sources)) / samples_per_step))


def _alike(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Bring to one shape: a mask for all keypoints (1, h, w) is repeated beside one with a plane for each (K, h, w)."""
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    return [np.broadcast_to(array, shape) for array in arrays]


def _prepare_worker(worker: int) -> None:
    """Leave signals to the main process and the other cores to the other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _overhear)
    cv2.setNumThreads(0)


def _overhear(number: int, frame: FrameType | None) -> None:
    """Survive the first SIGTERM: sent to the whole process group, it means that the main process shall save and end.

    The second one, by which the loader ends workers that hang, acts as it always does.
    """
    signal.signal(number, signal.SIG_DFL)
