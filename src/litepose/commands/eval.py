"""Score a model on annotated pictures: COCO keypoint AP and AR with PCK@0.2, or PCKh on an MPII list."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litepose.commands.options import (
    DecodeOption,
    DeviceOption,
    FlipOption,
    JsonOption,
    ModelOption,
    RuntimeOption,
    ScalesOption,
    SizeOption,
    ThreadsOption,
    counted,
    is_box_file,
    parse_scales,
    parse_size,
)
from litepose.errors import PictureError, SettingError

if TYPE_CHECKING:
    import numpy as np

    from litepose.datasets import Dataset
    from litepose.datasets.mpii import MpiiDataset
    from litepose.metrics import CocoProtocol, MpiiProtocol, Report
    from litepose.metrics.protocols import EvaluationProtocol
    from litepose.poses import Sample
    from litepose.predictor import Predictor

EvalBoxesOption = Annotated[
    str | None,
    typer.Option(
        "--boxes",
        help="Of top-down models: where boxes come from: gt (the annotated ones), a FILE.json of detections, a "
        "bottom-up MODEL, a DETECTOR.onnx or picture (all of it). Default: gt.",
    ),
]
GT = "gt"
HEADING_WIDTH = 10  # of a column: the longest names take several lines
MAX_LISTED = 20  # unreadable pictures named in the message; the JSON report has all


def run(
    model: ModelOption,
    data: Annotated[
        str, typer.Option("--data", help="COCO, CrowdPose or MPII JSON, packed folder, or synthetic[:...].")
    ],
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the JSON file's pictures.")] = None,
    json: JsonOption = None,
    flip: FlipOption = False,
    decode: DecodeOption = None,
    scales: ScalesOption = "1",
    size: SizeOption = None,
    runtime: RuntimeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "cpu",
    boxes: EvalBoxesOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N pictures.")] = None,
) -> None:
    from litepose import predictor
    from litepose.datasets import open_dataset
    from litepose.files import check_writable, write_report
    from litepose.metrics import evaluate

    if json is not None:
        check_writable(json)
    finder = predictor.load(
        model, device=device, threads=threads, runtime=runtime,
        decode=decode, flip=flip, size=parse_size(size), scales=parse_scales(scales),
    )  # fmt: skip
    dataset = open_dataset(data, images=images, skeleton=finder.spec.skeleton)
    protocol: EvaluationProtocol
    if (mpii := _mpii_list(dataset)) is not None:
        dataset, protocol = mpii, _mpii_protocol(data, mpii, boxes, finder)
    else:
        protocol = _coco_protocol(data, dataset, _open_boxes(boxes, finder, dataset, device=device, threads=threads))
    settings = {
        "model": model,
        "data": dataset.name,
        "skeleton": finder.skeleton.name,
        "size": size or "model's rule",
        "flip": flip,
        "scales": list(finder.scales),
        "decode": decode or finder.codec.mode,
        **({"boxes": Path(boxes or GT).name} if finder.takes_boxes else {}),
    }
    with _Bar() as bar:
        report = evaluate(finder, dataset, protocol=protocol, limit=limit, progress=bar, settings=settings)
    _print(report)
    if json is not None:
        write_report(json, report.to_json())
    if report.unreadable:
        raise PictureError(_unreadable_message(report))


def _mpii_list(dataset: Dataset) -> MpiiDataset | None:
    """Return the dataset as MPII's list, on its own skeleton, if it is one."""
    from litepose.datasets import Remapped
    from litepose.datasets.mpii import MpiiDataset

    own = dataset.dataset if isinstance(dataset, Remapped) else dataset
    return own if isinstance(own, MpiiDataset) else None


def _mpii_protocol(data: str, dataset: MpiiDataset, boxes: str | None, finder: Predictor) -> MpiiProtocol:
    """Return MPII's way of scoring; there is no other for its list, so nobody takes one number for another."""
    from litepose.detectors import truth_boxes
    from litepose.metrics import MpiiProtocol
    from litepose.metrics.pckh import read_truth_mat, truth_beside

    if not finder.takes_boxes:
        raise SettingError(
            f"{finder.spec.model} was to be scored on {data}, an MPII list; PCKh looks for each person in its "
            "annotated box, and this model finds everybody in the whole picture. Take a top-down model, or score "
            "this one on COCO-like annotations."
        )
    if boxes not in (None, GT):
        raise SettingError(
            f"--boxes {boxes} was asked for on {data}, an MPII list; PCKh scores each annotated person in its own "
            "box. Leave --boxes out."
        )
    records = {image: dataset.records(index) for index, image in enumerate(dataset.ids)}
    truth = read_truth_mat(truth_beside(data))
    return MpiiProtocol(truth, records, skeleton=finder.skeleton, boxes=truth_boxes)


def _coco_protocol(data: str, dataset: Dataset, boxes: Callable[[Sample], np.ndarray] | None) -> CocoProtocol:
    from litepose.metrics import CocoProtocol
    from litepose.metrics.truth import read_truth

    truth = read_truth(data, dataset.skeleton) if Path(data).is_file() else None
    return CocoProtocol(truth=truth, boxes=boxes)


def _open_boxes(
    boxes: str | None, finder: Predictor, dataset: Dataset, *, device: str, threads: int | None
) -> Callable[[Sample], np.ndarray] | None:
    """Return where each sample's boxes come from; None where the predictor itself finds people."""
    import numpy as np

    from litepose.detectors import checked_boxes, read_box_file, truth_boxes
    from litepose.predictor import open_detector

    if boxes is not None:
        finder.check_takes_boxes()
    if not finder.takes_boxes:
        return None
    if boxes is None or boxes == GT:
        return lambda sample: truth_boxes(sample)[0]
    if not is_box_file(boxes):
        finder.detector = open_detector(boxes, device=device, threads=threads)
        return None
    by_id, nobody = read_box_file(boxes, known=dataset.ids), np.zeros((0, 5))

    def listed(sample: Sample) -> np.ndarray:
        given = by_id.get(sample.id, nobody)
        return checked_boxes(given, sample.size, of=f"picture {sample.id} in {boxes}")

    return listed


class _Bar:
    """A progress bar on standard error that appears with the first picture."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("pictures", total=None)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


def _print(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table

    from litepose.metrics.coco import PROTOCOL

    data = report.to_json()
    settings, pck = data["settings"], data.get("pck")
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)  # COCO's and MPII's columns fit into 80 characters
    for column in data["stats"]:
        table.add_column(textwrap.fill(column, HEADING_WIDTH), justify="right", no_wrap=True)
    table.add_row(*(f"{value:.3f}" if value >= 0 else "-" for value in data["stats"].values()))
    console = Console()
    console.print(f"{settings['model']} on {settings['data']}: {data['protocol']}", highlight=False, soft_wrap=True)
    console.print(table)
    people, pictures = counted(settings["people"], "person", "people"), counted(report.num_pictures, "picture")
    console.print(f"{people} in {pictures}.", highlight=False)
    boxes = settings.get("boxes")
    if boxes is not None:
        published = ". Published AP takes a detector's: --boxes FILE.json" if data["protocol"] == PROTOCOL else ""
        gt = f" (annotated){published}" if boxes == GT else ""
        console.print(f"Boxes: {boxes}{gt}.", highlight=False, soft_wrap=True)
    if pck is not None:
        of = pck["settings"]
        console.print(
            f"PCK@{of['threshold']:g} of the torso diagonal: {counted(of['people'], 'person', 'people')}, "
            f"{of['skipped_without_diagonal']} skipped without one.",
            highlight=False,
        )


def _unreadable_message(report: Report) -> str:
    lines = [f"  {key}: {message}" for key, message in report.unreadable[:MAX_LISTED]]
    if len(report.unreadable) > MAX_LISTED:
        lines.append(f"  ... and {len(report.unreadable) - MAX_LISTED} more")
    count = len(report.unreadable)
    return f"{counted(count, 'picture')} could not be read, not in the numbers:\n" + "\n".join(lines)
