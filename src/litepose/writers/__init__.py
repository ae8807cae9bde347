"""Result files: the people of many pictures, or of a video's frames one by one, in the formats that others read.

- litepose: one file whose head states model, keypoint names, skeleton and units once (writers.own).
- coco: COCO keypoint results and, beside them, NAME.images.json with the pictures behind the ids.
- openpose, openpifpaf, ultralytics-txt, ultralytics-json, tfjs: those projects' own; csv: a row for each keypoint.

Where a format has no room for it, NAME.about.json says model, keypoint names, skeleton, sizes and units. Files are
written as results come, under another name until they are whole, so a video of any length takes no memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from litepose.errors import SettingError, nearest_name
from litepose.files import check_writable, picture_ids, replacing, write_json, write_text
from litepose.skeleton import Skeleton
from litepose.writers import coco, openpifpaf, openpose, own, table, tfjs, ultralytics
from litepose.writers.base import FileEach, Head, OneFile, PictureResult

__all__ = ["FORMATS", "PictureResult", "ResultFiles", "check_target", "is_folder", "suffix_of", "write_results"]

# Name -> the format of pictures and that of a video's frames.
FORMATS: dict[str, tuple[OneFile | FileEach, OneFile | FileEach]] = {
    "coco": (coco.COCO, coco.COCO),
    "csv": (table.CSV, table.CSV),
    "litepose": (own.LITEPOSE, own.LITEPOSE),
    "openpifpaf": (openpifpaf.PICTURES, openpifpaf.VIDEO),
    "openpose": (openpose.OPENPOSE, openpose.OPENPOSE),
    "tfjs": (tfjs.TFJS, tfjs.TFJS),
    "ultralytics-json": (ultralytics.JSON, ultralytics.JSON),
    "ultralytics-txt": (ultralytics.TXT, ultralytics.TXT),
}


class ResultFiles:
    """A context that writes results as they are added; at its end, also after an error, they are whole and in place.

    format: a name of FORMATS; path: its file, or folder. model: named in heads. skeleton: of the people.
    names: of all pictures to come, for COCO's ids; None for a video's frames, where `video` names it.
    Raises SettingError.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        format: str,
        model: str,
        skeleton: Skeleton | None,
        names: Sequence[str] | None = None,
        video: str | None = None,
    ) -> None:
        check_target(path, format, video=video is not None)
        self.path = Path(path)
        self.head = Head(model, skeleton, video)
        self.written: list[Path] = []
        self._name = format
        self._format = _format(format, video=video is not None)
        self._ids = None if names is None else picture_ids(names)
        self._count = 0
        self._pictures: list[dict[str, Any]] = []
        self._sizes: dict[tuple[int, int], None] = {}
        self._streams: list[tuple[OneFile, TextIO, list[int]]] = []
        self._places = contextlib.ExitStack()
        self._names: set[str] = set()

    def __enter__(self) -> ResultFiles:
        if isinstance(self._format, OneFile):
            self._open(self._format, self.path)
            if self._format.beside is not None:
                ending, beside = self._format.beside
                self._open(beside, self.path.with_suffix(ending))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for format, stream, _ in self._streams:
            stream.write(format.end)
            stream.close()
        if error is not None and not self._count:
            self._places.__exit__(kind, error, trace)  # nothing to keep
            return
        self._places.close()
        if not self._format.explains_itself:
            self._write_about()

    def add(self, result: PictureResult) -> None:
        """Write the people of the next picture."""
        image_id = self._ids[self._count] if self._ids is not None else (result.frame or 0)
        self._count += 1
        self._sizes[result.size] = None
        if self.head.video is None:
            width, height = result.size
            self._pictures.append({"file": result.name, "width": width, "height": height})
        if isinstance(self._format, FileEach):
            self._write_each(self._format, result)
        for format, stream, counter in self._streams:
            for text in format.entries(result, image_id):
                stream.write((format.between if counter[0] else "") + text)
                counter[0] += 1

    def _open(self, format: OneFile, path: Path) -> None:
        temporary = self._places.enter_context(replacing(path))
        stream = self._places.enter_context(temporary.open("w", encoding="utf-8", newline=""))
        stream.write(format.start(self.head))
        self._streams.append((format, stream, [0]))
        self.written.append(path)

    def _write_each(self, format: FileEach, result: PictureResult) -> None:
        file = format.file(result)
        if file is None:
            return
        name, text = file
        if name in self._names:  # a.jpg and a.png: what stands behind the stem goes behind the whole name
            stem, whole = Path(result.name).stem, Path(result.name).name
            name = str(Path(name).with_name(Path(name).name.replace(stem, whole, 1)))
        write_text(self.path / name, text)
        if self.head.video is None:  # the names of an hour's frames would fill memory
            self._names.add(name)
            self.written.append(self.path / name)

    def _write_about(self) -> None:
        about: dict[str, Any] = {"format": self._name, **self.head.to_json(), "units": self._format.units}
        if len(self._sizes) == 1:
            about["width"], about["height"] = next(iter(self._sizes))
        if self.head.video is None:
            about["pictures"] = self._pictures
        path = self.path.with_name(f"{self.path.name}.about.json")
        write_json(path, about)
        self.written.append(path)


def write_results(path: str | Path, results: Sequence[PictureResult], *, format: str, model: str) -> list[Path]:
    """Write the people of all pictures; return the files written. `path` is a folder where `is_folder(format)`.

    model: named in heads. Raises SettingError.
    """
    skeleton = results[0].poses.skeleton if results else None
    names = [result.name for result in results]
    with ResultFiles(path, format=format, model=model, skeleton=skeleton, names=names) as files:
        for result in results:
            files.add(result)
    return files.written


def is_folder(format: str, *, video: bool = False) -> bool:
    """Return whether a format is a folder with a file for each picture. Raises SettingError."""
    return isinstance(_format(format, video=video), FileEach)


def suffix_of(format: str, *, video: bool = False) -> str:
    """Return how a format's file ends, "" for a folder. Raises SettingError."""
    if is_folder(format, video=video):
        return ""
    lines = format in ("openpifpaf", "tfjs", "ultralytics-json")
    return ".csv" if format == "csv" else f".{format}.jsonl" if lines else ".json"


def check_target(path: str | Path | None, format: str, *, video: bool = False) -> None:
    """Raise SettingError where results could not be written: known before any picture is read."""
    folder = is_folder(format, video=video)
    if path is None:
        return
    if folder and Path(path).is_file():
        raise SettingError(f"The format {format} writes a file for each picture; {path} is a file. Name a folder.")
    if not folder and Path(path).is_dir():
        raise SettingError(f"The format {format} writes one file; {path} is a folder. Name a file in it.")
    check_writable(Path(path) / "people.json" if folder else path)


def _format(name: str, *, video: bool) -> OneFile | FileEach:
    if name not in FORMATS:
        raise SettingError(f"No result format {name!r}. {nearest_name(name, FORMATS)}")
    return FORMATS[name][video]
