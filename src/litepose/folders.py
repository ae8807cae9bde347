"""People in many picture files: read, find, draw, write, and go on past the files that are broken."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litepose import images
from litepose.drawing import draw
from litepose.errors import PictureError, SettingError
from litepose.files import check_writable
from litepose.geometry import size_of
from litepose.predictor import Predictor
from litepose.writers import PictureResult


@dataclass(frozen=True)
class Outcome:
    """What became of one file: a result and the seconds that finding took, or the error; `drawn` where it was drawn."""

    file: Path
    result: PictureResult | None = None
    seconds: float = 0.0
    drawn: Path | None = None
    error: PictureError | None = None


def predict_files(
    predictor: Predictor,
    files: Sequence[Path],
    *,
    output: str | Path | None = None,
    min_score: float = 0.0,
    boxes: bool = False,
    max_megapixels: float | None = images.MAX_MEGAPIXELS,
) -> Iterator[Outcome]:
    """Find the people of each file, in order, while the next one is being read.

    output: a folder for drawn pictures of the same names; None draws nothing. Inputs are never overwritten.
    min_score: people below are left out. boxes: draw boxes and scores too.
    Raises SettingError before anything is read; a broken file becomes an Outcome with its error.
    """
    names = images.distinct_names(files)
    drawings = _drawings(files, names, None if output is None else Path(output))
    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting = [reader.submit(images.read, file, max_megapixels=max_megapixels) for file in files[:1]]
        for i, (file, name, drawing) in enumerate(zip(files, names, drawings, strict=True)):
            reading = waiting.pop()
            if i + 1 < len(files):
                waiting.append(reader.submit(images.read, files[i + 1], max_megapixels=max_megapixels))
            try:
                image = reading.result()
            except PictureError as error:
                yield Outcome(file, error=error)
                continue
            yield _predict(predictor, image, file, name, drawing, min_score, boxes)


def _predict(
    predictor: Predictor, image: np.ndarray, file: Path, name: Path, drawing: Path | None, min_score: float, boxes: bool
) -> Outcome:
    start = time.perf_counter()
    poses = predictor(image)
    seconds = time.perf_counter() - start
    poses = poses[poses.scores >= min_score]
    if drawing is not None:
        images.write(drawing, draw(image, poses, boxes=boxes, scores=boxes))
    return Outcome(file, PictureResult(name.as_posix(), size_of(image), poses), seconds, drawing)


def _drawings(files: Sequence[Path], names: Sequence[Path], output: Path | None) -> list[Path | None]:
    """Return where each drawing goes. Raises SettingError where that would overwrite an input."""
    if output is None:
        return [None] * len(files)
    if output.is_file():
        raise SettingError(f"Drawn pictures go to the folder {output}, which is a file. Name a folder.")
    check_writable(output / "picture.png")
    places: list[Path | None] = []
    for name in names:
        writable = name.suffix.lower() in images.WRITE_SUFFIXES
        places.append(output / (name if writable else name.with_name(f"{name.name}.png")))
    inputs = {file.resolve() for file in files}
    taken = next((place for place in places if place is not None and place.resolve() in inputs), None)
    if taken is not None:
        raise SettingError(f"Drawing into {output} would overwrite the input {taken}. Name another folder with -o.")
    return places
