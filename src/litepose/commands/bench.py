"""Time models step by step: read, pre, network, decode, draw; several are compared in turns."""

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
from litepose.errors import SettingError

if TYPE_CHECKING:
    import numpy as np

    from litepose.benchmark import BenchReport, Ratio
    from litepose.predictor import Predictor


def run(
    models: Annotated[list[str], typer.Argument(help="Shipped models' names, exported files, checkpoints.")],
    image: Annotated[Path | None, typer.Option("--image", help="Time this picture, not a synthetic one.")] = None,
    source: Annotated[
        Path | None, typer.Option("--source", help="Time the pictures in and below this folder, one after the other.")
    ] = None,
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
        float | None,
        typer.Option("--peak", help="GFLOP/s (float32) of one core. Default: measured where a C compiler is at hand."),
    ] = None,
    limits: Annotated[
        bool, typer.Option("--limits/--no-limits", help="Measure what this machine attains, to print the shares of it.")
    ] = True,
    json: JsonOption = None,
) -> None:
    import cv2

    from litepose.benchmark import benchmark_together, compare
    from litepose.files import check_writable, write_report
    from litepose.machine_limits import convolution_gflops, fma_gflops
    from litepose.predictor import load

    if json is not None:
        check_writable(json)
    if peak is not None:
        check_range("--peak", peak, 1e-3, math.inf)
    predictors = [
        load(one, device=device, threads=threads, runtime=runtime, decode=decode, flip=flip, size=parse_size(size))
        for one in models
    ]
    cv2.setNumThreads(predictors[0].runtime.threads)
    pictures, boxes = _pictures(image, source, people, predictors)
    attained = {}
    if limits and device == "cpu":
        peak = fma_gflops() if peak is None else peak
        engines = {type(one.runtime).__module__.rpartition(".")[2]: one.runtime.threads for one in predictors}
        attained = {engine: convolution_gflops(engine, count) for engine, count in engines.items()}
    reports = benchmark_together(
        predictors, pictures, boxes=boxes, repeat=repeat, peak_gflops=peak, attained_gflops=attained
    )
    ratios = compare(reports, _distinct(models))
    for name, report in zip(_distinct(models), reports, strict=True):
        _print(report, name if len(models) > 1 else report.model)
    _print_ratios(ratios)
    if json is not None:
        one = reports[0].to_json()
        several = {"models": [report.to_json() for report in reports], "ratios": [ratio.to_json() for ratio in ratios]}
        write_report(json, one if len(reports) == 1 else several)


def _pictures(
    image: Path | None, source: Path | None, people: int, predictors: list[Predictor]
) -> tuple[list[Path | bytes], np.ndarray | None]:
    """Return what is timed, and the boxes of its people where these are known. Raises SettingError, PictureError."""
    from litepose import images
    from litepose.benchmark import as_jpeg
    from litepose.datasets import open_dataset
    from litepose.detectors import truth_boxes

    if image is not None and source is not None:
        raise SettingError(f"Both --image {image} and --source {source} say what to time. Give one of them.")
    if source is not None and not source.is_dir():
        raise SettingError(f"--source {source} is no folder. Name a folder of pictures, or use --image.")
    if source is not None:
        return list(images.find([source], recursive=True)), None
    if image is not None:
        return [image], None
    scene = open_dataset(f"synthetic:people={people}-{people},seed=0,size=640x480")[0]
    known = any(predictor.takes_boxes for predictor in predictors)
    return [as_jpeg(scene.image)], truth_boxes(scene)[0] if known else None


def _distinct(models: list[str]) -> list[str]:
    """Return a short name for each model: file names without folders, where these differ."""
    short = [Path(model).name for model in models]
    names = short if len(set(short)) == len(set(models)) else models
    return [f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _print(report: BenchReport, name: str) -> None:
    width, height = report.picture_size
    load = "" if report.load is None else f", load {report.load:.1f}"
    people = counted(report.people, "person found", "people found")
    if report.top_down:
        people = counted(report.people, "box", "boxes")
    what = f"picture {width}x{height}" if report.pictures == 1 else f"{report.pictures} pictures"
    print(
        f"{name}: {what}, input {report.size[0]}x{report.size[1]}, "
        f"{people}{' in a picture' if report.pictures > 1 else ''}, {counted(report.threads, 'thread')}{load}"
    )
    print(f"{'':10}{'median':>9}{'p90':>9}{'CPU':>9}  ms, {report.repeat} rounds")
    for step_name, step in report.steps.items():
        print(f"{step_name:10}{step.median_ms:9.2f}{step.p90_ms:9.2f}{step.cpu_ms:9.2f}")
    print(f"{'sum':10}{report.total_ms:9.2f}")
    if report.gflops is not None:
        share = "" if report.peak_share is None else f", {report.peak_share:.0%} of the peak"
        if report.attained_share is not None:
            share += f", {report.attained_share:.0%} of a dense convolution's {report.attained_gflops:.0f}"
        print(f"network: {report.gflops:.1f} GFLOP/s{share}")
    if report.memory_mb is not None:
        print(f"memory: {report.memory_mb:.0f} MB at most")


def _print_ratios(ratios: list[Ratio]) -> None:
    if ratios:
        print("\nCPU time in turns, median of the rounds' ratios (quartiles)")
    for ratio in ratios:
        network, whole = (f"{x[1]:.2f}x ({x[0]:.2f} .. {x[2]:.2f})" for x in (ratio.network, ratio.whole))
        print(f"{ratio.second} is faster than {ratio.first} by: network {network}, whole {whole}")
