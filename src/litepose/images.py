"""Pictures in and out: files, bytes, globs and folders; always (H, W, 3) uint8 BGR in between.

EXIF orientation is respected, grey and CMYK become BGR, 16 bits become 8, transparency is laid onto white, and of an
animation the first frame counts (GIF and animated WebP need an OpenCV that reads them).
"""

from __future__ import annotations

import dataclasses
import difflib
import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

from litepose.errors import PictureError
from litepose.files import write_bytes
from litepose.picture_header import FORMATS, PictureHeader, read_header

SUFFIXES = (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")  # what folders are searched for
MAX_MEGAPIXELS = 100.0
WRITE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
JPEG_QUALITY = 92
HEAD_BYTES, TAIL_BYTES = 2**14, 2**10  # of a file, where its header and its end mostly lie


def read(
    source: str | Path | bytes, *, max_megapixels: float | None = MAX_MEGAPIXELS, upright: bool = True
) -> np.ndarray:
    """Return the picture of a file (or of a file's bytes) as (H, W, 3) uint8 BGR.

    upright: turned as its EXIF data ask; False gives the pixels as stored, which is how annotation files count.
    max_megapixels: larger pictures are refused from their header, before memory is spent; None allows all.
    Raises PictureError, which names the file.
    """
    name, data = _load(source)
    header = read_header(data)
    _check(name, data, header, max_megapixels)
    assert header is not None
    image = _decode(data, cv2.IMREAD_COLOR if upright else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise PictureError(
            f"{name} cannot be decoded: its header says {header.format} of {header.size[0]}x{header.size[1]}, the "
            f"content is damaged, cut off or of a kind that OpenCV {cv2.__version__} does not read. Save it again as "
            "PNG or JPEG."
        )
    return _onto_white(image, data) if header.alpha else image


def stored_size(path: str | Path, *, max_megapixels: float | None = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Return (w, h) of a picture file as stored, from its header; of a JPEG also the end is looked for.

    What is damaged in between only `read` notices. Raises PictureError as `read` does.
    """
    name, head, tail = _ends(Path(path))
    header = read_header(head)
    if header is not None and not header.whole and b"\xff\xd9" in tail:
        header = dataclasses.replace(header, whole=True)
    if header is None or not header.whole:  # a long header, or something behind the end
        name, head = _load(path)
        header = read_header(head)
    _check(name, head, header, max_megapixels)
    assert header is not None
    return header.size


def find(sources: Iterable[str | Path], *, recursive: bool = False) -> list[Path]:
    """Return the picture files that files, globs and folders stand for: each once, folders in natural order.

    A file named outright is taken whatever its suffix; folders and globs give files with a suffix of SUFFIXES.
    Raises PictureError for a name that stands for nothing.
    """
    files: dict[Path, None] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            found = _in_folder(path, recursive)
        elif path.is_file() or path.is_symlink():
            found = [path]
        elif re.search(r"[*?\[]", str(source)):
            found = _matches(str(source))
        else:
            raise PictureError(f"There is no file {path}.{_similar_file(path)}")
        files.update(dict.fromkeys(found))
    return list(files)


def distinct_names(files: Sequence[Path]) -> list[Path]:
    """Return a relative output name for each file: its own name, with folders in front only where names repeat."""
    if len({file.name for file in files}) == len(files):
        return [Path(file.name) for file in files]
    absolute = [file.resolve() for file in files]
    common = Path(os.path.commonpath([file.parent for file in absolute]))
    return [file.relative_to(common) for file in absolute]


def write(path: str | Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 BGR picture; the suffix chooses the format. Nothing half-written is ever seen."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITE_SUFFIXES:
        raise PictureError(f"Cannot write {path}: pictures are written as {', '.join(WRITE_SUFFIXES)}. Rename it.")
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(suffix, image, settings)
    if not done:
        raise PictureError(f"Cannot write {path}: OpenCV {cv2.__version__} has no encoder for {suffix}. Use .png.")
    write_bytes(path, data.tobytes())


def _load(source: str | Path | bytes) -> tuple[str, bytes]:
    if isinstance(source, bytes):
        return f"The picture of {len(source)} bytes", source
    path = Path(source)
    if path.is_dir():
        raise PictureError(f"{path} is a folder, not a picture. Take its files: litepose.images.find([{str(path)!r}]).")
    try:
        return str(path), path.read_bytes()
    except FileNotFoundError as error:
        if path.is_symlink():
            raise PictureError(
                f"{path} is a link to {path.readlink()}, which is not there. Mend or remove it."
            ) from error
        raise PictureError(f"There is no file {path}.{_similar_file(path)}") from error
    except OSError as error:
        raise PictureError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error


def _ends(path: Path) -> tuple[str, bytes, bytes]:
    """Return a file's name, its first bytes and its last."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES))
            return str(path), head, file.read()
    except OSError:
        name, data = _load(path)  # says what is wrong
        return name, data, data


def _check(name: str, data: bytes, header: PictureHeader | None, max_megapixels: float | None) -> None:
    if not data:
        raise PictureError(f"{name} is empty (0 bytes). Copy it again.")
    if header is None:
        raise PictureError(
            f"{name} is no picture that can be read: it starts with {data[:8]!r}. Possible: {', '.join(FORMATS)}. "
            "Convert it to one of them."
        )
    width, height = header.size
    if width < 1 or height < 1:
        raise PictureError(f"{name} is a {header.format} without pixels ({width}x{height}). Save it again.")
    megapixels = width * height / 1e6
    if max_megapixels is not None and megapixels > max_megapixels:
        raise PictureError(
            f"{name} has {megapixels:.0f} megapixels ({width}x{height}); up to {max_megapixels:g} are read, because a "
            "small file can ask for all memory. Shrink it, or raise the limit: max_megapixels, --max-megapixels."
        )
    if not header.whole:
        raise PictureError(
            f"{name} is cut off: the end of its {header.format} data is missing ({len(data)} bytes are there). "
            "Copy or download it again."
        )


def _decode(data: bytes, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # sizes beyond OpenCV's own limits, broken headers
        return None


def _onto_white(image: np.ndarray, data: bytes) -> np.ndarray:
    """Lay a transparent picture onto white.

    OpenCV reads alpha only together with "do not turn by EXIF"; where it did turn `image` (almost no transparent
    picture asks for that), the opaque pixels disagree and `image` stays as it is.
    """
    full = _decode(data, cv2.IMREAD_UNCHANGED)
    if full is None or full.ndim != 3 or full.shape[2] != 4:
        return image
    if full.dtype == np.uint16:
        full = (full >> 8).astype(np.uint8)
    if full.shape[:2] != image.shape[:2] or full.dtype != np.uint8 or full[..., 3].min() == 255:
        return image
    opaque = full[..., 3] == 255
    if not np.array_equal(full[opaque, :3], image[opaque]):
        return image
    alpha = full[..., 3:].astype(np.float32) / 255.0
    laid = full[..., :3] * alpha + 255.0 * (1.0 - alpha)
    return np.rint(laid).astype(np.uint8)


def _in_folder(folder: Path, recursive: bool) -> list[Path]:
    candidates = folder.rglob("*") if recursive else folder.iterdir()
    found = sorted(filter(_is_picture, candidates), key=_natural)
    if not found:
        inside = "it or any folder below it" if recursive else "it (folders below are searched with --recursive)"
        raise PictureError(f"{folder} holds no pictures: no {', '.join(SUFFIXES)} in {inside}.")
    return found


def _matches(pattern: str) -> list[Path]:
    paths = map(Path, glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
    found = sorted(filter(_is_picture, paths), key=_natural)
    if not found:
        raise PictureError(f"Nothing matches {pattern!r} (pictures end in {', '.join(SUFFIXES)}).")
    return found


def _is_picture(path: Path) -> bool:
    named_so = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    # A link to nothing is found too, so that whoever reads it hears of it.
    return named_so and (path.is_file() or (path.is_symlink() and not path.exists()))


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key: img2 before img10, names without regard to case."""
    parts = re.split(r"(\d+)", str(path).lower())
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]


def _similar_file(path: Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    if not names:
        return f" The folder {path.parent} is empty or absent."
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return f" Did you mean {path.parent / close[0]}?" if close else ""
