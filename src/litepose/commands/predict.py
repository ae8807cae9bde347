"""Find the people in pictures: files, globs, folders. Drawn pictures and result files come out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litepose.commands.options import (
    BoxesOption,
    DecodeOption,
    DeviceOption,
    FlipOption,
    ModelOption,
    RuntimeOption,
    ScalesOption,
    SizeOption,
    ThreadsOption,
    check_range,
    check_threads,
    counted,
    is_box_file,
    parse_scales,
    parse_size,
)
from litepose.errors import SettingError

if TYPE_CHECKING:
    from litepose.folders import Outcome
    from litepose.writers import PictureResult

DEFAULT_OUTPUT = Path("litepose-out")
MAX_AT_ONCE = 8  # files, each of which needs the network's memory


def run(
    sources: Annotated[list[str], typer.Argument(help="Picture files, globs, folders.", show_default=False)],
    model: ModelOption = "litepose_xs",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help=f"Folder for drawn pictures. Without -o and --json: {DEFAULT_OUTPUT}."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the people to this file (openpose: into this folder).")
    ] = None,
    format: Annotated[str, typer.Option("--format", help="Of --json: litepose, coco or openpose.")] = "litepose",
    min_score: Annotated[float, typer.Option("--min-score", help="Leave out people whose score is lower.")] = 0.2,
    boxes: BoxesOption = None,
    draw_boxes: Annotated[bool, typer.Option("--draw-boxes", help="Draw boxes and scores too.")] = False,
    show_maps: Annotated[
        bool, typer.Option("--show-maps", help="Write NAME.maps.png too: heatmaps and tags over the picture.")
    ] = False,
    recursive: Annotated[bool, typer.Option("-r", "--recursive", help="Search folders below folders.")] = False,
    max_megapixels: Annotated[
        float, typer.Option("--max-megapixels", min=0, help="Refuse larger pictures; 0 allows all.")
    ] = 100,
    size: SizeOption = None,
    decode: DecodeOption = None,
    flip: FlipOption = False,
    scales: ScalesOption = "1",
    runtime: RuntimeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "cpu",
) -> None:
    _silence_opencv()
    from litepose.folders import boxes_of_files, predict_files
    from litepose.images import find
    from litepose.predictor import load
    from litepose.writers import check_target

    check_range("--min-score", min_score, 0, 1)
    check_threads(threads)
    check_target(json, format)
    files = find(sources, recursive=recursive)
    if json is not None and json.resolve() in {file.resolve() for file in files}:
        raise SettingError(f"--json {json} would overwrite an input. Name another file.")
    threads, in_flight = _shared_out(threads, len(files))
    predictor = load(
        model, device=device, threads=threads, runtime=runtime,
        decode=decode, flip=flip, size=parse_size(size), scales=parse_scales(scales),
        boxes=None if is_box_file(boxes) else boxes,
    )  # fmt: skip
    if is_box_file(boxes):
        predictor.check_takes_boxes()
    given = boxes_of_files(boxes, files) if boxes is not None and is_box_file(boxes) else None
    drawn = output if output is not None or (json is not None and not show_maps) else DEFAULT_OUTPUT
    outcomes = predict_files(
        predictor, files, output=drawn, min_score=min_score, boxes=given, draw_boxes=draw_boxes,
        show_maps=show_maps, max_megapixels=max_megapixels or None, in_flight=in_flight,
    )  # fmt: skip
    _finish(_shown(outcomes, len(files)), drawn, json, format, predictor.spec.model or model)


def _silence_opencv() -> None:
    """Let broken pictures be reported by us, once. Read when OpenCV is imported, which has not happened yet."""
    import os

    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


def _shared_out(threads: int | None, num_files: int) -> tuple[int, int]:
    """Return the engine's threads and how many files are worked on at once: cores go to files first.

    Two at least, so that one file is read or decoded while the network runs on another.
    """
    import cv2

    from litepose.runtimes.base import physical_cores

    cores = physical_cores()
    at_once = max(1, min(num_files, MAX_AT_ONCE, cores if threads is None else cores // threads))
    threads = threads or max(1, cores // at_once)
    cv2.setNumThreads(threads)
    return threads, max(at_once, min(2, num_files))


def _finish(outcomes: list[Outcome], drawn: Path | None, json: Path | None, format: str, model: str) -> None:
    """Write the result file and say what became of everything. Raises PictureError where a picture was broken."""
    from litepose.errors import PictureError
    from litepose.writers import write_results

    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    written = [] if json is None else write_results(json, results, format=format, model=model)
    drawings = f"{drawn}/" if drawn is not None and results else None
    _summarise(results, [drawings, (f"{json}/" if format == "openpose" else str(json)) if written else None])
    broken = [str(outcome.error) for outcome in outcomes if outcome.error is not None]
    if broken:
        raise PictureError(
            "\n  ".join([f"{len(broken)} of {counted(len(outcomes), 'picture')} could not be read:", *broken])
        )


def _summarise(results: list[PictureResult], places: list[str | None]) -> None:
    people = sum(len(result.poses) for result in results)
    where = f" -> {', '.join(filter(None, places))}" if any(places) else ""
    print(f"{counted(people, 'person', 'people')} in {counted(len(results), 'picture')}{where}")


def _shown(outcomes: Iterator[Outcome], total: int) -> list[Outcome]:
    """Print a line for each picture as it is done, under a progress bar where many are to come."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(highlight=False, soft_wrap=True)
    columns = (TextColumn("predicting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    done = []
    with Progress(*columns, console=console, transient=True, disable=total < 2 or not console.is_terminal) as progress:
        for outcome in progress.track(outcomes, total=total):
            done.append(outcome)
            console.print(_line(outcome), markup=False)
    return done


def _line(outcome: Outcome) -> str:
    if outcome.result is None:
        return f"{outcome.file}: not read"
    people = counted(len(outcome.result.poses), "person", "people")
    return f"{outcome.file}: {people}, {outcome.seconds * 1000:.0f} ms"
