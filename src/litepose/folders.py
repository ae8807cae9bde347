"""People in many picture files: read, find, draw, write, and go on past the files that are broken."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litepose import images
from litepose.detectors import checked_boxes, read_box_file
from litepose.drawing import draw
from litepose.drawing_maps import draw_maps
from litepose.errors import PictureError, SettingError
from litepose.files import check_writable
from litepose.geometry import size_of
from litepose.in_order import in_order
from litepose.predictor import Predictor
from litepose.writers import PictureResult

MAPS_ENDING = ".maps.png"


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
    boxes: Sequence[np.ndarray] | None = None,
    draw_boxes: bool = False,
    show_maps: bool = False,
    max_megapixels: float | None = images.MAX_MEGAPIXELS,
    in_flight: int = 2,
) -> Iterator[Outcome]:
    """Find the people of each file, in order, several files at a time.

    output: a folder for drawn pictures of the same names; None draws nothing. Inputs are never overwritten.
    min_score: people below are left out. boxes: one array for each file, as `Predictor` takes them.
    draw_boxes: draw boxes and scores too. show_maps: write NAME.maps.png too, the network's maps over the picture,
        beside the drawing; the network computes them once more.
    in_flight: files worked on at once; outcomes come in order all the same.
    Raises SettingError before anything is read, and for boxes that are none; a broken file becomes an Outcome with its
    error.
    """
    names = images.distinct_names(files)
    drawings = _drawings(files, names, None if output is None else Path(output), show_maps=show_maps)
    if predictor.takes_boxes and boxes is None:
        _ = predictor.detector  # opened once, and before any thread asks for it

    def work(number: int) -> Outcome:
        file, drawing = files[number], drawings[number]
        try:
            image = images.read(file, max_megapixels=max_megapixels)
        except PictureError as error:
            return Outcome(file, error=error)
        given = None if boxes is None else checked_boxes(boxes[number], size_of(image), of=str(file))
        start = time.perf_counter()
        poses = predictor(image, given)
        seconds = time.perf_counter() - start
        poses = poses[poses.scores >= min_score]
        if drawing is not None:
            images.write(drawing, draw(image, poses, boxes=draw_boxes, scores=draw_boxes))
        if drawing is not None and show_maps:
            frames = [(frame.warp, layers) for frame, layers in predictor.layers(image, given)]
            images.write(_maps_place(drawing), draw_maps(image, frames, predictor.skeleton))
        return Outcome(file, PictureResult(names[number].as_posix(), size_of(image), poses), seconds, drawing)

    for outcome in in_order(work, range(len(files)), in_flight=in_flight):
        yield outcome.result()


def boxes_of_files(path: str | Path, files: Sequence[Path]) -> list[np.ndarray]:
    """Return the boxes that a COCO detection file has for each picture file, (M, 5), none where it names it not.

    A picture's id in the file is its name, its name without suffix, or the number in that (000000000139.jpg: 139).
    Raises AnnotationError, also where no picture is named.
    """
    keys = [_ids_of(file) for file in files]
    by_id = read_box_file(path, known=[one for ids in keys for one in ids])
    nobody = np.zeros((0, 5), dtype=np.float32)
    return [next((by_id[one] for one in ids if one in by_id), nobody) for ids in keys]


def _ids_of(file: Path) -> list[int | str]:
    return [file.name, file.stem, *([int(file.stem)] if file.stem.isdecimal() else [])]


def _maps_place(drawing: Path) -> Path:
    return drawing.with_name(f"{drawing.stem}{MAPS_ENDING}")


def _drawings(
    files: Sequence[Path], names: Sequence[Path], output: Path | None, *, show_maps: bool = False
) -> list[Path | None]:
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
    written = [place for place in places if place is not None]
    written += [_maps_place(place) for place in written] if show_maps else []
    taken = next((place for place in written if place.resolve() in inputs), None)
    if taken is not None:
        raise SettingError(f"Drawing into {output} would overwrite the input {taken}. Name another folder with -o.")
    return places
