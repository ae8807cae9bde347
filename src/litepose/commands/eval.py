"""Score a model on annotated pictures: COCO keypoint AP and AR, PCK@0.2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
from litepose.errors import PictureError

if TYPE_CHECKING:
    import numpy as np

    from litepose.datasets import Dataset
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
MAX_LISTED = 20  # unreadable pictures named in the message; the JSON report has all


def run(
    model: ModelOption,
    data: Annotated[str, typer.Option("--data", help="COCO or CrowdPose JSON, packed folder, or synthetic[:...].")],
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
    from litepose.metrics.coco import MAX_PEOPLE
    from litepose.metrics.truth import read_truth

    if json is not None:
        check_writable(json)
    finder = predictor.load(
        model, device=device, threads=threads, runtime=runtime,
        decode=decode, flip=flip, size=parse_size(size), scales=parse_scales(scales),
    )  # fmt: skip
    skeleton = finder.spec.skeleton
    dataset = open_dataset(data, images=images, skeleton=skeleton)
    truth = read_truth(data, skeleton) if Path(data).is_file() else None
    boxes_of = _open_boxes(boxes, finder, dataset, device=device, threads=threads)
    settings = {
        "model": model,
        "data": dataset.name,
        "skeleton": skeleton.name,
        "size": size or "model's rule",
        "flip": flip,
        "scales": list(finder.scales),
        "decode": decode or finder.codec.mode,
        "max_people": MAX_PEOPLE,
        **({"boxes": Path(boxes or GT).name} if finder.takes_boxes else {}),
    }
    with _Bar() as bar:
        report = evaluate(finder, dataset, boxes=boxes_of, truth=truth, limit=limit, progress=bar, settings=settings)
    _print(report)
    if json is not None:
        write_report(json, report.to_json())
    if report.unreadable:
        raise PictureError(_unreadable_message(report))


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


def _print(report: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    data = report.to_json()
    table = Table(box=None, padding=(0, 2, 0, 0), title_justify="left")  # eleven columns fit into 80 characters
    for column in data["stats"]:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_row(*(f"{value:.3f}" if value >= 0 else "-" for value in data["stats"].values()))
    console = Console()
    console.print(f"{data['settings']['model']} on {data['settings']['data']}", highlight=False, soft_wrap=True)
    console.print(table)
    people, pictures = counted(report.num_people, "person", "people"), counted(report.num_pictures, "picture")
    console.print(f"{people} in {pictures}.", highlight=False)
    boxes = data["settings"].get("boxes")
    if boxes is not None:
        gt = " (annotated). Published AP takes a detector's: --boxes FILE.json" if boxes == GT else ""
        console.print(f"Boxes: {boxes}{gt}.", highlight=False, soft_wrap=True)
    if report.pck is not None:
        console.print(
            f"PCK@{report.pck.threshold:g} of the torso diagonal: "
            f"{counted(report.pck.num_people, 'person', 'people')}, {report.pck.num_skipped} skipped without one.",
            highlight=False,
        )


def _unreadable_message(report: Any) -> str:
    lines = [f"  {key}: {message}" for key, message in report.unreadable[:MAX_LISTED]]
    if len(report.unreadable) > MAX_LISTED:
        lines.append(f"  ... and {len(report.unreadable) - MAX_LISTED} more")
    count = len(report.unreadable)
    return f"{counted(count, 'picture')} could not be read, not in the numbers:\n" + "\n".join(lines)
