"""Find the people in pictures, videos, camera and network streams. Drawings and result files come out."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
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
    counted,
    is_box_file,
    parse_scales,
    parse_size,
)
from litepose.errors import SettingError

if TYPE_CHECKING:
    from litepose.folders import Outcome
    from litepose.predictor import Predictor
    from litepose.writers import PictureResult

DEFAULT_OUTPUT = Path("litepose-out")
MAX_AT_ONCE = 8  # files, each of which needs the network's memory

SourcesArgument = Annotated[
    list[str],
    typer.Argument(
        help="Picture files, globs, folders; or videos, a camera's number, addresses (rtsp, http).", show_default=False
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output",
        help=f"Folder for drawings, or a FILE.webm, .mp4 or .mkv of a video. Without -o and --json: {DEFAULT_OUTPUT}.",
    ),
]  # fmt: skip
ResultsOption = Annotated[
    Path | None,
    typer.Option("--json", help="Write the people to this file, or into this folder where --format is one."),
]
FormatOption = Annotated[
    str,
    typer.Option(
        "--format",
        help="Of --json: litepose, coco, openpose (folder), openpifpaf (folder; a file of a video), ultralytics-txt "
        "(folder), ultralytics-json, tfjs, csv.",
    ),
]
MinScoreOption = Annotated[float, typer.Option("--min-score", help="Leave out people whose score is lower.")]
DrawBoxesOption = Annotated[bool, typer.Option("--draw-boxes", help="Draw boxes and scores too.")]
ShowMapsOption = Annotated[
    bool, typer.Option("--show-maps", help="Write NAME.maps.png too: heatmaps and tags over the picture.")
]
RecursiveOption = Annotated[bool, typer.Option("-r", "--recursive", help="Search folders below folders.")]
MegapixelsOption = Annotated[
    float, typer.Option("--max-megapixels", min=0, help="Refuse larger pictures; 0 allows all.")
]
SequenceOption = Annotated[bool, typer.Option("--sequence", help="See pictures as the frames of a video.")]
RateOption = Annotated[float, typer.Option("--rate", help="Pictures a second of a --sequence.")]
TrackOption = Annotated[bool, typer.Option("--track", help="Video: give people ids that stay.")]
SmoothOption = Annotated[bool, typer.Option("--smooth", help="Video: steady the keypoints (tracks too).")]
StartOption = Annotated[float, typer.Option("--start", help="Video: begin at this second.")]
StopOption = Annotated[float | None, typer.Option("--stop", help="Video: end at this second.")]
StrideOption = Annotated[int, typer.Option("--stride", help="Video: take every how manieth frame.")]
MaxFramesOption = Annotated[int | None, typer.Option("--max-frames", help="Video: end after so many frames.")]
SmoothOfflineOption = Annotated[
    bool,
    typer.Option("--smooth-offline", help="Video file: steady the keypoints in a second pass, never late; fill gaps."),
]
MirrorOption = Annotated[bool, typer.Option("--mirror", help="Video: draw as in a mirror; results stay as filmed.")]
ShowOption = Annotated[bool, typer.Option("--show", help="Video: show it in a window; q ends.")]
OverlayOption = Annotated[bool, typer.Option("--overlay", help="Video: draw frames a second and each step's time.")]


def run(
    sources: SourcesArgument,
    model: ModelOption = "litepose_xs",
    output: OutputOption = None,
    json: ResultsOption = None,
    format: FormatOption = "litepose",
    min_score: MinScoreOption = 0.2,
    boxes: BoxesOption = None,
    draw_boxes: DrawBoxesOption = False,
    show_maps: ShowMapsOption = False,
    recursive: RecursiveOption = False,
    max_megapixels: MegapixelsOption = 100,
    sequence: SequenceOption = False,
    rate: RateOption = 25,
    track: TrackOption = False,
    smooth: SmoothOption = False,
    smooth_offline: SmoothOfflineOption = False,
    start: StartOption = 0,
    stop: StopOption = None,
    stride: StrideOption = 1,
    max_frames: MaxFramesOption = None,
    mirror: MirrorOption = False,
    show: ShowOption = False,
    overlay: OverlayOption = False,
    size: SizeOption = None,
    decode: DecodeOption = None,
    flip: FlipOption = False,
    scales: ScalesOption = "1",
    runtime: RuntimeOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = "cpu",
) -> None:
    _quiet_opencv()
    from litepose.commands import predict_video
    from litepose.predictor import load
    from litepose.video import Clip, Drawing
    from litepose.video.sources import is_video

    check_range("--min-score", min_score, 0, 1)
    drawing = Drawing(boxes=draw_boxes, scores=draw_boxes, timing=overlay, mirrored=mirror)
    clip = Clip(start, stop, stride, max_frames)
    opened = functools.partial(
        load, model, device=device, threads=threads, runtime=runtime, decode=decode, flip=flip, size=parse_size(size),
        scales=parse_scales(scales), boxes=None if is_box_file(boxes) else boxes,
    )  # fmt: skip
    if sequence or any(map(is_video, sources)):
        predict_video.check_video_options({"--show-maps": show_maps, f"--boxes {boxes}": is_box_file(boxes)})
        options = predict_video.VideoOptions(
            clip, drawing, output, json, format, min_score, show, track or smooth, smooth,
            rate if sequence else None, recursive, max_megapixels or None, smooth_offline,
        )  # fmt: skip
        predict_video.predict_videos(sources, options, opened)
        return
    moving = {"--track": track, "--smooth": smooth, "--smooth-offline": smooth_offline, "--mirror": mirror}
    moving |= {"--show": show, "--overlay": overlay, "--start, --stop, --stride or --max-frames": clip != Clip()}
    predict_video.check_pictures_options(moving)
    _predict_pictures(
        sources, opened, output, json, format, min_score, boxes, draw_boxes, show_maps, recursive,
        max_megapixels or None, model, threads,
    )  # fmt: skip


def _quiet_opencv() -> None:
    """Let us report broken pictures, once. Read when OpenCV is imported, which has not happened yet."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


def _predict_pictures(
    sources: list[str],
    load: Callable[..., Predictor],
    output: Path | None,
    json: Path | None,
    format: str,
    min_score: float,
    boxes: str | None,
    draw_boxes: bool,
    show_maps: bool,
    recursive: bool,
    max_megapixels: float | None,
    model: str,
    threads: int | None,
) -> None:
    from litepose.folders import boxes_of_files, predict_files
    from litepose.images import find
    from litepose.writers import check_target

    check_target(json, format)
    files = find(sources, recursive=recursive)
    if json is not None and json.resolve() in {file.resolve() for file in files}:
        raise SettingError(f"--json {json} would overwrite an input. Name another file.")
    engine_threads, in_flight = _shared_out(threads, len(files))
    predictor = load(threads=engine_threads)
    if is_box_file(boxes):
        predictor.check_takes_boxes()
    given = boxes_of_files(boxes, files) if boxes is not None and is_box_file(boxes) else None
    drawn = output if output is not None or (json is not None and not show_maps) else DEFAULT_OUTPUT
    outcomes = predict_files(
        predictor, files, output=drawn, min_score=min_score, boxes=given, draw_boxes=draw_boxes,
        show_maps=show_maps, max_megapixels=max_megapixels, in_flight=in_flight,
    )  # fmt: skip
    _finish(_shown(outcomes, len(files)), drawn, json, format, predictor.spec.model or model)


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
    from litepose.writers import is_folder, write_results

    results = [outcome.result for outcome in outcomes if outcome.result is not None]
    written = [] if json is None else write_results(json, results, format=format, model=model)
    drawings = f"{drawn}/" if drawn is not None and results else None
    _summarise(results, [drawings, (f"{json}/" if is_folder(format) else str(json)) if written else None])
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
