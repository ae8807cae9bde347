"""Time to prepare training pictures, ours next to the reference's way; with a GPU, how fast a training runs on them.

    python benchmarks/input.py FILE [--images FOLDER] [--side 256] [--pictures 160] [--rounds 12] [--no-gpu]

FILE: a COCO keypoint file with 17 keypoints. One process, one thread, process CPU time (wall time on a shared machine
measures the neighbours). The ways take turns within a round, in turned order from round to round; each makes a few
batches of 16 in its turn, after one that is not counted, and each round gives one ratio to the reference's way. Printed
are the median ratios with their quartiles. The ways, all with the same augmentation (zoom, rotation, shift, mirror):

    reference            step by step as the authors' loader, written for this comparison (input_reference.py)
    original files       ours, from the files that the reference reads; targets drawn where the network is
    packed, on processor ours, from `litepose data pack`; targets drawn by the loader processes
    packed               ours, targets drawn where the network is (run.targets = "device", the default)
    packed for recipe    the same, at the side at which the recipe's nearest zoom enlarges nothing: data pack --for
    packed to the input  the same, packed to the input's side: smaller files, of which near zooms see less
    packed, raw          the same as packed, pixels instead of JPEGs: litepose data pack --raw

What "device" leaves to the network's device, normalising and drawing, is timed there where one is at hand. It first
checks that both ways of drawing give the same targets. The ratio depends on the files: COCO's own have 0.28 megapixels
and 160 kB on average; what FILE's have is printed. With a GPU, LitePose-XS is then trained in bf16 on the packed
pictures, and what its log says of pictures per second and of the share of waiting is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import cv2  # noqa: E402
import torch  # noqa: E402
from input_reference import ReferenceSamples  # noqa: E402

from litepose.codecs import AECodec  # noqa: E402
from litepose.datasets import Dataset, default_images, open_dataset  # noqa: E402
from litepose.datasets.packed import pack  # noqa: E402
from litepose.spec import InputSpec  # noqa: E402
from litepose.training.data import TrainingSamples, collate, pack_batch  # noqa: E402
from litepose.training.recipe import Recipe, load_recipe  # noqa: E402
from litepose.training.sources import VariedDataset, side_to_pack  # noqa: E402

BATCH, BATCHES = 16, 3  # of a turn
RECIPE = "litepose_xs_coco"
ENDLESS = 10**9  # samples
FIRST_RECORDS = 3  # of a training's log, while loader processes start and kernels are chosen


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--short-side", type=int, default=384)
    parser.add_argument("--pictures", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--no-gpu", action="store_true")
    parser.add_argument("--gpu-batch", type=int, default=256)
    parser.add_argument("--gpu-workers", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args(arguments)

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        images = asked.images or default_images(asked.file)
        file = first_pictures(asked.file, images, asked.pictures, Path(folder))
        original = open_dataset(file, images=images)
        recipe = load_recipe(RECIPE, [f"model.size=[{asked.side},{asked.side}]"])
        sides = {"packed": asked.short_side, "fitting": side_to_pack(recipe, InputSpec(size=recipe.model.size)),
                 "small": asked.side, "raw": asked.short_side}  # fmt: skip
        for name, short_side in sides.items():
            pack([original], Path(folder) / name, short_side=short_side, raw=name == "raw")
        packed, fitting, small, raw = (open_dataset(Path(folder) / name) for name in sides)
        check_equal(packed, asked.side)
        reference = ReferenceSamples(file, images, side=asked.side)
        ways = {
            "reference": stacked_by_torch(reference),
            "original files": ours(original, asked.side, targets="device"),
            "packed, on processor": ours(packed, asked.side, targets="worker"),
            "packed": ours(packed, asked.side, targets="device"),
            "packed for recipe": ours(fitting, asked.side, targets="device"),
            "packed to the input": ours(small, asked.side, targets="device"),
            "packed, raw": ours(raw, asked.side, targets="device"),
        }
        print(", ".join(f"{name}: {side} px" for name, side in sides.items()) + " short side")
        print(f"{asked.side} px, batches of {BATCH}, one core, CPU time, load {os.getloadavg()[0]:.1f}")
        print_ways(measure(ways, asked.rounds))
        if torch.cuda.is_available() and not asked.no_gpu:
            print_training(Path(folder), asked)


def first_pictures(file: Path, images: Path, count: int, folder: Path) -> Path:
    """Write a COCO file of the first pictures of another one and say what their files are like."""
    data = json.loads(file.read_bytes())
    data["images"] = data["images"][:: max(1, len(data["images"]) // count)][:count]
    known = {picture["id"] for picture in data["images"]}
    data["annotations"] = [one for one in data["annotations"] if one["image_id"] in known]
    sizes = [(images / picture["file_name"]).stat().st_size for picture in data["images"]]
    area = statistics.mean(picture["width"] * picture["height"] for picture in data["images"])
    people = len(data["annotations"]) / len(sizes)
    print(
        f"{len(sizes)} pictures of {area / 1e6:.2f} megapixels and {statistics.mean(sizes) / 1e3:.0f} kB, {people:.1f} "
        "people on each"
    )
    path = folder / "first.json"
    path.write_text(json.dumps(data))
    return path


def samples_of(dataset: Dataset, side: int, *, targets: Any) -> TrainingSamples:
    """Return endless samples, varied as the recipe says."""
    augment = load_recipe(RECIPE).augment
    source = VariedDataset(
        dataset, geometric=augment.geometric, photometric=augment.photometric, rule=InputSpec(size=(side, side))
    )
    return TrainingSamples(
        [source], [1.0], codec=AECodec(), size_at=lambda share: (side, side), samples_per_step=BATCH, total=ENDLESS,
        seed=0, targets=targets,
    )  # fmt: skip


def check_equal(dataset: Dataset, side: int) -> None:
    """Compare the targets of one batch, drawn in both ways."""
    drawn, planned = (
        collate([samples[n] for n in range(BATCH)])
        for samples in (samples_of(dataset, side, targets=targets) for targets in ("worker", "device"))
    )
    wanted, found = drawn.drawn_targets(), planned.drawn_targets()
    assert torch.equal(drawn.images, planned.images) and torch.equal(wanted.tag_indices, found.tag_indices)
    assert all(torch.equal(a, b) for a, b in zip(wanted.masks, found.masks, strict=True))
    worst = max(float((a - b).abs().max()) for a, b in zip(wanted.heatmaps, found.heatmaps, strict=True))
    assert worst <= 1e-6, worst
    print(f"targets drawn in both ways are equal: masks and tags exactly, heatmaps within {worst:.1e}")


def ours(dataset: Dataset, side: int, *, targets: Any) -> Callable[[], Any]:
    """Return what makes the next batch as a loader process does, up to the block that is handed over."""
    samples = samples_of(dataset, side, targets=targets)
    numbers = counting()
    return lambda: pack_batch([samples[next(numbers)] for _ in range(BATCH)])


def stacked_by_torch(samples: ReferenceSamples) -> Callable[[], Any]:
    numbers = counting()
    stack = torch.utils.data.default_collate
    return lambda: stack([samples[next(numbers) % len(samples)] for _ in range(BATCH)])


def counting() -> Iterator[int]:
    yield from range(ENDLESS)


def measure(ways: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Return the CPU seconds of a batch in each round, after one that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(rounds + 1):
        turned = names[number % len(names) :] + names[: number % len(names)]
        for name in turned:
            ways[name]()  # fills the caches, as in a loader process that does nothing else
            start = time.process_time()
            for _ in range(BATCHES):
                ways[name]()
            if number:
                seconds[name].append((time.process_time() - start) / BATCHES)
    return seconds


def print_ways(seconds: dict[str, list[float]]) -> None:
    print("way                    ms a picture   pictures/s a core   times the reference (quartiles)")
    for name, times in seconds.items():
        each = statistics.median(times) / BATCH
        ratios = [a / b for a, b in zip(seconds["reference"], times, strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{name:21}  {1e3 * each:12.2f}   {1 / each:17.0f}   {middle:.2f} ({low:.2f} to {high:.2f})")


def print_training(folder: Path, asked: argparse.Namespace) -> None:
    """Train for a while on the packed pictures and print the means of what the log says."""
    from litepose.training.loop import train

    recipe = gpu_recipe(folder / "packed", asked)
    train(recipe, folder / "run", device="cuda", evaluate=lambda network: {"loss": 0.0})
    lines = [json.loads(line) for line in (folder / "run" / "log.jsonl").read_text().splitlines()]
    records = [line for line in lines if line["kind"] == "train"][FIRST_RECORDS:]
    speed, wait = (statistics.median(record[key] for record in records) for key in ("pictures_per_s", "data_wait"))
    print(
        f"\n{recipe.model.name} at {asked.side} px in bf16 on {torch.cuda.get_device_name()}, batch {asked.gpu_batch}, "
        f"{asked.gpu_workers} loader processes: {speed:.0f} pictures/s, waiting {100 * wait:.1f} % of the time"
    )


def gpu_recipe(packed: Path, asked: argparse.Namespace) -> Recipe:
    changes = {
        "run.batch": asked.gpu_batch, "run.workers": asked.gpu_workers, "run.precision": '"bf16"', "run.epochs": 1,
        "run.epoch_samples": 150 * asked.gpu_batch, "run.log_steps": 10, "model.size": [asked.side, asked.side],
    }  # fmt: skip
    recipe = load_recipe(RECIPE, [f"{key}={value}" for key, value in changes.items()])
    return recipe.with_data([str(packed)])


if __name__ == "__main__":
    main()
