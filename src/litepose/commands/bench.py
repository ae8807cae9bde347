"""Time a model step by step: read, pre, network, decode, draw."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litepose.commands.options import (
    DecodeOption,
    DeviceOption,
    FlipOption,
    JsonOption,
    RuntimeOption,
    SizeOption,
    ThreadsOption,
    check_range,
    counted,
    parse_size,
)

if TYPE_CHECKING:
    from litepose.benchmark import BenchReport
    from litepose.poses import Sample


def run(
    model: Annotated[str, typer.Argument(help="A shipped model's name, an exported file or a checkpoint.")],
    image: Annotated[Path | None, typer.Option("--image", help="Time this picture, not a synthetic one.")] = None,
    people: Annotated[
        int, typer.Option("--people", min=0, help="In the synthetic 640x480 picture; top-down: boxes.")
    ] = 5,
    size: SizeOption = None,
    decode: DecodeOption = None,
    flip: FlipOption = False,
    runtime: RuntimeOption = None,
    threads: ThreadsOption = 1,
    device: DeviceOption = "cpu",
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Rounds that count.")] = 30,
    peak: Annotated[
        float | None, typer.Option("--peak", help="GFLOP/s (float32) of one core, to print the share reached.")
    ] = None,
    json: JsonOption = None,
) -> None:
    import cv2

    from litepose.benchmark import as_jpeg, benchmark
    from litepose.detectors import truth_boxes
    from litepose.files import check_writable, write_report
    from litepose.predictor import load

    if json is not None:
        check_writable(json)
    if peak is not None:
        check_range("--peak", peak, 1e-3, math.inf)
    predictor = load(
        model, device=device, threads=threads, runtime=runtime, decode=decode, flip=flip, size=parse_size(size)
    )
    cv2.setNumThreads(predictor.runtime.threads)
    picture: Path | bytes | None = image
    boxes = None
    if picture is None:
        scene = _scene(people)
        picture, boxes = as_jpeg(scene.image), truth_boxes(scene)[0] if predictor.takes_boxes else None
    report = benchmark(predictor, picture, boxes=boxes, repeat=repeat, peak_gflops=peak)
    _print(report)
    if json is not None:
        write_report(json, report.to_json())


def _scene(people: int) -> Sample:
    from litepose.datasets import open_dataset

    return open_dataset(f"synthetic:people={people}-{people},seed=0,size=640x480")[0]


def _print(report: BenchReport) -> None:
    width, height = report.picture_size
    load = "" if report.load is None else f", load {report.load:.1f}"
    people = counted(report.people, "person found", "people found")
    if report.top_down:
        people = counted(report.people, "box", "boxes")
    print(
        f"{report.model}: picture {width}x{height}, input {report.size[0]}x{report.size[1]}, "
        f"{people}, {counted(report.threads, 'thread')}{load}"
    )
    print(f"{'':10}{'median':>9}{'p90':>9}{'CPU':>9}  ms, {report.repeat} rounds")
    for name, step in report.steps.items():
        print(f"{name:10}{step.median_ms:9.2f}{step.p90_ms:9.2f}{step.cpu_ms:9.2f}")
    print(f"{'sum':10}{report.total_ms:9.2f}")
    if report.gflops is not None:
        share = "" if report.peak_share is None else f", {report.peak_share:.0%} of the peak"
        print(f"network: {report.gflops:.1f} GFLOP/s{share}")
    if report.memory_mb is not None:
        print(f"memory: {report.memory_mb:.0f} MB at most")
