"""From uploaded bytes to the answer's text: checked by header, read, looked at, written as litepose's own JSON."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from litepose.errors import LiteposeError, PictureError

if TYPE_CHECKING:
    from litepose.predictor import Predictor
    from litepose.web.metrics import Metrics

MAX_NAME_LENGTH = 200


class TooManyPixels(LiteposeError):
    """A picture whose header asks for more memory than the server gives."""


def find_people(
    predictor: Predictor,
    files: Sequence[tuple[str, bytes]],
    *,
    model: str,
    min_score: float,
    max_megapixels: float,
    metrics: Metrics,
) -> bytes:
    """Return the people of some pictures as JSON text.

    files: name and bytes of each. Raises PictureError, TooManyPixels, which name the file.
    """
    from litepose import images
    from litepose.writers.base import Head, PictureResult
    from litepose.writers.own import LITEPOSE

    start = time.perf_counter()
    for name, data in files:  # all, before the first is decoded
        _check(name, data, max_megapixels)
    pictures = []
    for name, data in files:
        try:
            pictures.append(images.read(data, max_megapixels=max_megapixels))
        except PictureError as error:
            raise PictureError(f"{name}: {error}") from error
    found = predictor.batch(pictures)
    results = [
        PictureResult(name, (image.shape[1], image.shape[0]), poses[poses.scores >= min_score])
        for (name, _), image, poses in zip(files, pictures, found, strict=True)
    ]
    metrics.found(len(results), sum(len(one.poses) for one in results), time.perf_counter() - start)
    entries = [text for result in results for text in LITEPOSE.entries(result, 0)]
    return (LITEPOSE.start(Head(model, predictor.skeleton)) + LITEPOSE.between.join(entries) + LITEPOSE.end).encode()


def plain_name(name: str | None, number: int) -> str:
    """Return a client's name for a file without folders, only ever echoed; `picture-N` where there is none."""
    last = PurePosixPath((name or "").replace("\\", "/")).name[-MAX_NAME_LENGTH:]
    return last or f"picture-{number}"


def _check(name: str, data: bytes, max_megapixels: float) -> None:
    from litepose.picture_header import read_header

    header = read_header(data)
    if header is not None and header.size[0] * header.size[1] > max_megapixels * 1e6:
        raise TooManyPixels(
            f"{name} is a {header.format} of {header.size[0]}x{header.size[1]}; this server reads up to "
            f"{max_megapixels:g} megapixels. Shrink it."
        )
