"""Options that mean the same in every command."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from litepose.errors import SettingError

MAX_THREADS = 256  # an engine asked for 10,000 would make them all, and stall

ModelOption = Annotated[
    str, typer.Option("-m", "--model", help="A shipped model's name, an exported file or a checkpoint.")
]
SkeletonOption = Annotated[
    str | None,
    typer.Option("--skeleton", help="coco17, crowdpose14, mpii16, openpose18 or a JSON file."),
]
ArchOption = Annotated[
    Path | None,
    typer.Option("--arch", help="JSON file of an architecture (as the LitePose authors write them)."),
]
SizeOption = Annotated[str | None, typer.Option("--size", help="Network input as WIDTHxHEIGHT, e.g. 256x256.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Write a machine-readable report to this file.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, max=MAX_THREADS, help="CPU threads of the engine.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu or cuda.")]
DecodeOption = Annotated[
    str | None,
    typer.Option(
        "--decode",
        help="exact (the reference's numbers), fast, or compiled (fast, by numba). Default: the model's own.",
    ),
]
RuntimeOption = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        help="Another engine than the file's, or another precision: openvino (of .onnx too), openvino:bf16, ncnn:f16.",
    ),
]
ScalesOption = Annotated[str, typer.Option("--scales", help="Average over several sizes, e.g. 0.5,1,2.")]
BoxesOption = Annotated[
    str | None,
    typer.Option(
        "--boxes",
        help="Of top-down models: where boxes come from: a bottom-up MODEL, a DETECTOR.onnx, a FILE.json of detections "
        "or picture (all of it). Default: litepose_xs.",
    ),
]
FlipOption = Annotated[bool, typer.Option("--flip", help="Average with the mirrored picture.")]


def check_range(option: str, value: float, lowest: float, highest: float) -> None:
    """Raise SettingError where a number is none or lies outside of [lowest, highest]."""
    if not lowest <= value <= highest:  # NaN is never between
        end = f"from {lowest:g} to {highest:g}" if math.isfinite(highest) else f"of at least {lowest:g}"
        raise SettingError(f"{option} wants a number {end}; found {value:g}.")


def is_box_file(boxes: str | None) -> bool:
    """Return whether --boxes names a file of detections, and not what detects."""
    return boxes is not None and boxes.lower().endswith(".json")


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return "1 picture" or "2 pictures"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Return "WxH" as (w, h). Raises SettingError."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise SettingError(f"--size wants WIDTHxHEIGHT; found {text!r}. Write for instance 256x256.")
    return int(parts[0]), int(parts[1])


def parse_scales(text: str) -> tuple[float, ...]:
    """Return "0.5,1,2" as numbers. Raises SettingError."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SettingError(f"--scales wants numbers with commas between; found {text!r}. Write 0.5,1,2.") from error
