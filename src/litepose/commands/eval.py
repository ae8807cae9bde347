"""Score a model on annotated pictures: COCO or CrowdPose AP and AR, PCK@0.2, or PCKh on an MPII list."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litepose.commands.options import (
    DecodeOption,
    DeviceOption,
    FlipOption,
    JsonOption,
    RuntimeOption,
    ScalesOption,
    SizeOption,
    ThreadsOption,
    counted,
    parse_scales,
    parse_size,
)
from litepose.errors import PictureError, SettingError

if TYPE_CHECKING:
    from rich.table import Table

    from litepose.distributed import Share
    from litepose.evaluation import Evaluation
    from litepose.metrics import Report
    from litepose.predictor import Predictor

EvalModelOption = Annotated[
    str | None, typer.Option("-m", "--model", help="A shipped model's name, an exported file or a checkpoint.")
]
EvalBoxesOption = Annotated[
    str | None,
    typer.Option(
        "--boxes",
        help="Of top-down models: where boxes come from: gt (the annotated ones), a FILE.json of detections, a "
        "bottom-up MODEL, a DETECTOR.onnx or picture (all of it). Default: gt; without annotations litepose_xs.",
    ),
]
ReportOption = Annotated[
    Path | None, typer.Option("--report", help="Write a page that says why the model fails, into this folder.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N pictures.")]
HEADING_WIDTH = 10  # of a column: the longest names take several lines
MOST_COLUMNS = 12  # of a table
MAX_LISTED = 20  # unreadable pictures named in the message; the JSON report has all
NOTES = {"coco-keypoints": ". Published AP takes a detector's: --boxes FILE.json"}
GT = "gt"


def run(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="COCO, CrowdPose or MPII JSON, packed folder, synthetic[:...]; without annotations: a COCO image list "
            "or a folder of pictures.",
        ),
    ],
    model: EvalModelOption = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the JSON file's pictures.")] = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="coco, crowdpose, mpii or pck. Default: what the data are.")
    ] = None,
    json: JsonOption = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Score this results file; no model, no pictures needed.")
    ] = None,
    save_results: Annotated[
        Path | None,
        typer.Option("--save-results", help="Write the people found: COCO results JSON; of an MPII list a .mat file."),
    ] = None,
    report: ReportOption = None,
    flip: FlipOption = False,
    decode: DecodeOption = None,
    scales: ScalesOption = "1",
    size: SizeOption = None,
    runtime: RuntimeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "cpu",
    boxes: EvalBoxesOption = None,
    limit: LimitOption = None,
) -> None:
    """Score a model on annotated pictures: COCO or CrowdPose AP and AR, PCK@0.2, or PCKh on an MPII list.

    A run that was stopped goes on where it was when it is started again with the same options. Under torchrun the
    pictures are shared over the processes.
    """
    outputs = _Outputs(json, save_results, report, images)
    outputs.check()
    if (model is None) == (results is None):
        raise SettingError("Give either a model (-m MODEL) or a results file (--results FILE) to be scored.")
    if results is not None:
        from litepose.evaluation import evaluate_results, read_data

        _finish(evaluate_results(results, read_data(data), protocol=protocol), outputs)
        return
    from litepose.distributed import open_share

    share = open_share()
    try:
        finder = _open_model(model or "", share, device=device, threads=threads, runtime=runtime, decode=decode,
                             flip=flip, size=size, scales=scales)  # fmt: skip
        evaluation = _evaluated(finder, data, share, outputs, model=model or "", protocol=protocol, boxes=boxes,
                                limit=limit, device=device)  # fmt: skip
        if evaluation is not None:
            _finish(evaluation, outputs)
    finally:
        share.close()


@dataclass(frozen=True)
class _Outputs:
    """What shall be written, and the folder of the pictures."""

    json: Path | None
    results: Path | None
    report: Path | None
    images: Path | None

    @property
    def first(self) -> Path | None:
        """The output beside which a run keeps what it has found."""
        return self.json or self.results or self.report

    def check(self) -> None:
        """Raise SettingError or MissingPackageError where something could not be written."""
        from litepose.evaluation.failure import check_possible
        from litepose.files import check_writable

        for path in (self.json, self.results):
            if path is not None:
                check_writable(path)
        if self.report is not None:
            check_possible(self.report)


def _open_model(
    model: str,
    share: Share,
    *,
    device: str,
    threads: int | None,
    runtime: str | None,
    decode: str | None,
    flip: bool,
    size: str | None,
    scales: str,
) -> Predictor:
    from litepose import predictor

    return predictor.load(
        model, device=share.device(device), threads=share.threads(threads), runtime=runtime,
        decode=decode, flip=flip, size=parse_size(size), scales=parse_scales(scales),
    )  # fmt: skip


def _evaluated(
    finder: Predictor,
    data: str,
    share: Share,
    outputs: _Outputs,
    *,
    model: str,
    protocol: str | None,
    boxes: str | None,
    limit: int | None,
    device: str,
) -> Evaluation | None:
    from litepose.evaluation import evaluate_model, open_data

    opened = open_data(data, images=outputs.images, skeleton=finder.spec.skeleton)
    if not opened.is_annotated and outputs.results is None:
        raise SettingError(
            f"{data} has no annotations to score against. Name a file for the people: --save-results FILE.json, or "
            "give the annotation file."
        )
    if not opened.is_annotated and outputs.report is not None:
        raise SettingError(f"--report was asked for on {data}, pictures without annotations. Leave it out.")
    with _Bar(shown=share.is_first) as bar:
        return evaluate_model(
            finder, opened, model=model, protocol=protocol, boxes=boxes, limit=limit, progress=bar,
            beside=outputs.first,
            share=share, device=share.device(device), threads=finder.runtime.threads,
        )  # fmt: skip


def _finish(evaluation: Evaluation, outputs: _Outputs) -> None:
    """Write what was asked for and print the numbers. Raises PictureError where pictures could not be read."""
    from litepose.evaluation.failure import write_failure_report
    from litepose.files import write_report

    report = evaluation.report
    if outputs.results is not None:
        evaluation.save_results(outputs.results)
    if report is not None:
        _print(report)
        if outputs.json is not None:
            write_report(outputs.json, report.to_json(), long=("per_picture",))
    if outputs.results is not None:
        people = sum(len(poses) for poses in evaluation.found.values())
        pictures = counted(len(evaluation.found), "picture")
        print(f"{counted(people, 'person', 'people')} found in {pictures} -> {outputs.results}")
    if outputs.report is not None:
        print(f"Why it fails: {write_failure_report(evaluation, outputs.report, pictures=outputs.images)}")
    evaluation.finish()
    if evaluation.unreadable:
        raise PictureError(_unreadable_message(evaluation.unreadable))


class _Bar:
    """A progress bar on standard error that appears with the first picture."""

    def __init__(self, *, shown: bool) -> None:
        self.shown = shown

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("pictures"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
                   TimeRemainingColumn())  # fmt: skip
        console = Console(stderr=True)
        hidden = not (self.shown and console.is_terminal)
        self._progress = Progress(*columns, console=console, transient=True, disable=hidden)
        self._task = self._progress.add_task("pictures", total=None, rate="")
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        speed = self._progress.tasks[self._task].speed
        rate = "" if speed is None else f"{speed:.1f}/s"
        self._progress.update(self._task, completed=done, total=total, rate=rate)


def _print(report: Report) -> None:
    from rich.console import Console

    data = report.to_json()
    settings = data["settings"]
    rows = {"official": data["stats"], "clean": data["clean"]} if "clean" in data else {"": data["stats"]}
    table = _tall(data["stats"]) if len(data["stats"]) > MOST_COLUMNS else _wide(rows)
    console = Console()
    console.print(f"{settings['model']} on {settings['data']}: {data['protocol']}", highlight=False, soft_wrap=True)
    console.print(table)
    for line in _remarks(data):
        console.print(line, highlight=False, soft_wrap=True)


def _wide(rows: dict[str, dict[str, float]]) -> Table:
    """Return a column for each number, and a row for each set of them, with its name where there are several."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)  # COCO's and MPII's columns fit into 80 characters
    named = len(rows) > 1
    if named:
        table.add_column("")
    for column in next(iter(rows.values())):
        table.add_column(textwrap.fill(column, HEADING_WIDTH), justify="right", no_wrap=True)
    for name, values in rows.items():
        table.add_row(*([name] if named else []), *map(_share, values.values()))
    return table


def _tall(stats: dict[str, float]) -> Table:
    """Return a row for each number."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for name, value in stats.items():
        table.add_row(name, _share(value))
    return table


def _share(value: float) -> str:
    return f"{value:.3f}" if value >= 0 else "-"


def _remarks(data: dict) -> list[str]:  # type: ignore[type-arg]
    """Return the sentences below the table."""
    settings, pck = data["settings"], data.get("pck")
    lines = [f"{counted(settings['people'], 'person', 'people')} in {counted(settings['pictures'], 'picture')}."]
    boxes, more = settings.get("boxes"), settings.get("pictures_with_more", 0)
    if more:
        lines.append(
            f"In {counted(more, 'picture')} more than {settings['max_people']} people were found; as the protocol has "
            f"it, the {settings['max_people']} of the highest scores count."
        )
    if boxes is not None:
        gt = f" (annotated){NOTES.get(data['protocol'], '')}" if boxes == GT else ""
        lines.append(f"Boxes: {boxes}{gt}.")
    if "OKS" in data:
        lines.append(f"Mean OKS of the annotated people with whoever is most like them: {data['OKS']:.3f}.")
    if pck is not None:
        of = pck["settings"]
        lines.append(
            f"PCK@{of['threshold']:g} of the torso diagonal: {counted(of['people'], 'person', 'people')}, "
            f"{of['skipped_without_diagonal']} skipped without one."
        )
    return lines


def _unreadable_message(unreadable: tuple[tuple[int | str, str], ...]) -> str:
    lines = [f"  {key}: {message}" for key, message in unreadable[:MAX_LISTED]]
    if len(unreadable) > MAX_LISTED:
        lines.append(f"  ... and {len(unreadable) - MAX_LISTED} more")
    return f"{counted(len(unreadable), 'picture')} could not be read, not in the numbers:\n" + "\n".join(lines)
