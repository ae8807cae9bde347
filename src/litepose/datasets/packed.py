"""Packed datasets: pictures re-encoded to a short side, with their samples, in tar shards with an index.

A folder holds `0000.tar`, ... (per picture one .jpg, or .npy, and one .json with the same key, one after the other,
as webdataset wants them) and `index.json`, which says where in a shard each lies, so that training reads at random
without unpacking. Written under a temporary name and renamed when complete; the same input gives the same bytes.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import shutil
import tarfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from litepose.datasets.base import Dataset, PeopleTable, join_tables, remap
from litepose.datasets.masks import decode_runs, encode_runs, person_mask
from litepose.datasets.shards import Shards
from litepose.errors import AnnotationError, LiteposeError, PictureError, SettingError
from litepose.geometry import Warp
from litepose.poses import Sample, warp_boxes
from litepose.skeleton import Skeleton

FORMAT = "litepose-packed"
VERSION, RAW_VERSION = 1, 2  # of folders with JPEGs, and of those with pixels
INDEX = "index.json"
SHORT_SIDE = 384  # px, of a pack for no recipe in particular
WINDOW = 64  # pictures in flight while packing
THREADS = 4


@dataclass(frozen=True)
class PackReport:
    """What `pack` wrote. left_out: names of the pictures that could not be read, with the reason."""

    folder: Path
    pictures: int
    people: int
    shards: int
    bytes: int
    left_out: tuple[str, ...]


def pack(
    datasets: Sequence[Dataset],
    folder: str | Path,
    *,
    short_side: int = SHORT_SIDE,
    quality: int = 90,
    shard_mb: float = 32,
    person_masks: bool = False,
    raw: bool = False,
    on_picture: Callable[[], None] = lambda: None,
) -> PackReport:
    """Write the pictures of all `datasets`, in order, into `folder`.

    short_side: px; smaller pictures keep their size. person_masks: keep those that the datasets give, and compute the
    others (`masks.person_mask`, some 25 ms a person). raw: keep pixels instead of JPEGs, which need no decoding but
    about ten times the space.
    Of several datasets each picture's id becomes "dataset:id". An unreadable picture is left out with a warning.
    Raises SettingError where `folder` exists, AnnotationError where nothing is left.
    """
    target = Path(folder)
    if target.exists():
        raise SettingError(f"Packing into {target}: it exists already. Remove it or choose another folder.")
    if short_side < 16 or not 1 <= quality <= 100 or shard_mb <= 0:
        raise SettingError(
            f"Packing with short side {short_side}, quality {quality}, shards of {shard_mb} MB: a side of at least 16, "
            "a quality of 1 to 100 and a positive size are needed."
        )
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        unfinished.mkdir(parents=True)
    except OSError as error:
        raise SettingError(f"Cannot pack into {target}: {error.strerror}. Choose another place.") from error
    writer = _ShardWriter(unfinished, int(shard_mb * 1e6), raw=raw)
    try:
        left_out, people = [], 0
        encode = _Encoder(datasets, short_side, None if raw else quality, person_masks)
        for record in _in_order(encode, encode.pictures()):
            on_picture()
            if isinstance(record, LiteposeError):
                warnings.warn(f"picture left out: {record}", stacklevel=2)
                left_out.append(str(record))
                continue
            writer.add(*record)
            people += len(record[2]["keypoints"])
        report = writer.finish(encode.skeletons, [dataset.name for dataset in datasets])
        if not report:
            raise AnnotationError(f"Packing into {target}: none of the {len(left_out)} pictures could be read.")
        unfinished.rename(target)
    finally:
        writer.close()  # an open file cannot be removed on Windows
        shutil.rmtree(unfinished, ignore_errors=True)
    size = sum(path.stat().st_size for path in target.iterdir())
    return PackReport(target, report, people, writer.shards, size, tuple(left_out))


class _Encoder:
    """One picture of one of the datasets -> (id, its bytes, description), or the error. quality: None = raw pixels."""

    def __init__(self, datasets: Sequence[Dataset], short_side: int, quality: int | None, person_masks: bool) -> None:
        self.datasets, self.short_side, self.quality, self.person_masks = datasets, short_side, quality, person_masks
        self.skeletons: list[Skeleton] = []
        for dataset in datasets:
            if dataset.skeleton not in self.skeletons:
                self.skeletons.append(dataset.skeleton)

    def pictures(self) -> Iterator[tuple[Dataset, int]]:
        for dataset in self.datasets:
            yield from ((dataset, index) for index in range(len(dataset)))

    def __call__(self, which: tuple[Dataset, int]) -> tuple[int | str, bytes, dict[str, Any]] | LiteposeError:
        dataset, index = which
        try:
            sample = shrunk(dataset[index], self.short_side)
            if self.person_masks and sample.person_masks is None:
                sample = _with_masks(sample)
        except (PictureError, AnnotationError) as error:
            return error
        name = sample.id if len(self.datasets) == 1 else f"{dataset.name}:{sample.id}"
        described = _describe(sample, self.person_masks) | {"skeleton": self.skeletons.index(dataset.skeleton)}
        return name, _picture_bytes(sample.image, self.quality), described


def _picture_bytes(image: np.ndarray, quality: int | None) -> bytes:
    """Return the picture as a JPEG, or as numpy writes arrays, the pixels last."""
    if quality is None:
        stream = io.BytesIO()
        np.save(stream, image)
        return stream.getvalue()
    # With Huffman tables of its own a file has the same pixels, a tenth fewer bytes, and is read so much quicker.
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    return data.tobytes()


def _in_order(work: Callable[[Any], Any], items: Iterator[Any]) -> Iterator[Any]:
    """Yield work(item) in order, computed by a few threads, with few results waiting."""
    with ThreadPoolExecutor(THREADS) as pool:
        while window := list(itertools.islice(items, WINDOW)):
            yield from pool.map(work, window)


def shrunk(sample: Sample, short_side: int) -> Sample:
    """Return the sample with its picture's short side at most `short_side` px, person masks included."""
    width, height = sample.size
    factor = short_side / min(width, height)
    if factor >= 1:
        return sample
    size = max(1, round(width * factor)), max(1, round(height * factor))
    warp = Warp.resize(sample.size, size)
    keypoints = sample.keypoints.copy()
    keypoints[..., :2] = np.where(sample.visible[..., None], warp.points(keypoints[..., :2]), 0)
    return replace(
        sample,
        image=cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA),
        keypoints=keypoints,
        boxes=warp_boxes(sample.boxes, warp),
        areas=(sample.areas * warp.zoom**2).astype(np.float32),
        ignore=None if sample.ignore is None else _resized(sample.ignore, size),
        person_masks=None if sample.person_masks is None else tuple(_resized(m, size) for m in sample.person_masks),
    )


def _with_masks(sample: Sample) -> Sample:
    masks = (person_mask(sample.image, person[:, :2], person[:, 2] > 0, sample.skeleton) for person in sample.keypoints)
    return replace(sample, person_masks=tuple(masks))


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(mask.astype(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_AREA) > 127


def _describe(sample: Sample, person_masks: bool) -> dict[str, Any]:
    """Return the sample without its picture as plain values."""

    def rounded(values: np.ndarray) -> Any:
        return np.round(values.astype(np.float64), 2).tolist()

    keep_masks = person_masks and sample.person_masks is not None
    return {
        "size": list(sample.size),
        "keypoints": rounded(sample.keypoints),
        "boxes": rounded(sample.boxes),
        "areas": rounded(sample.areas),
        "ignore": None if sample.ignore is None else encode_runs(sample.ignore),
        "labelled": None if sample.labelled is None else sample.labelled.tolist(),
        "keypoint_weights": None if sample.keypoint_weights is None else rounded(sample.keypoint_weights),
        "person_masks": [encode_runs(mask) for mask in sample.person_masks or ()] if keep_masks else None,
    }


class _ShardWriter:
    def __init__(self, folder: Path, limit: int, *, raw: bool) -> None:
        self.folder, self.limit, self.raw = folder, limit, raw
        self.shards = 0
        self._files: list[dict[str, Any]] = []
        self._pictures: list[list[Any]] = []
        self._tar: tarfile.TarFile | None = None
        self._stream: Any = None

    def add(self, name: int | str, picture: bytes, description: dict[str, Any]) -> None:
        if self._tar is None or self._stream.tell() > self.limit:
            self._next()
        stem = f"{len(self._pictures):08d}"
        text = json.dumps({"id": name, **description}, separators=(",", ":")).encode()
        row: list[Any] = [name, self.shards - 1]
        for suffix, data in ((".npy" if self.raw else ".jpg", picture), (".json", text)):
            entry = tarfile.TarInfo(stem + suffix)  # time 0 and no owner: the same input, the same bytes
            entry.size = len(data)
            assert self._tar is not None
            self._tar.addfile(entry, io.BytesIO(data))
            padded = -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            row += [self._stream.tell() - padded, len(data)]
        self._pictures.append(row)

    def finish(self, skeletons: list[Skeleton], sources: list[str]) -> int:
        """Close the shards, write the index last, return the number of pictures."""
        self.close()
        index = {
            "format": FORMAT,
            "version": RAW_VERSION if self.raw else VERSION,
            "sources": sources,
            "skeletons": [skeleton.to_json() for skeleton in skeletons],
            "shards": self._files,
            "columns": ["id", "shard", "jpg_offset", "jpg_bytes", "json_offset", "json_bytes"],
            "pictures": self._pictures,
        }
        (self.folder / INDEX).write_text(json.dumps(index, separators=(",", ":")), encoding="utf-8")
        return len(self._pictures)

    def _next(self) -> None:
        self.close()
        self._stream = (self.folder / f"{self.shards:04d}.tar").open("wb")
        self._tar = tarfile.open(fileobj=self._stream, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        self.shards += 1

    def close(self) -> None:
        """Finish the shard that is open, if one is."""
        if self._tar is None:
            return
        self._tar.close()
        self._stream.close()
        path = Path(self._stream.name)
        self._files.append({"file": path.name, "bytes": path.stat().st_size})
        self._tar = None


class PackedDataset:
    """A folder written by `pack`.

    skeleton: to see the people on; needed where the folder holds several. person_masks: read them where they were kept.
    Raises AnnotationError where the folder is not what its index says.
    """

    def __init__(self, folder: str | Path, *, skeleton: Skeleton | None = None, person_masks: bool = False) -> None:
        self.folder, self.name, self.person_masks = Path(folder), Path(folder).name, person_masks
        index = _read_index(self.folder)
        self._skeletons = [Skeleton.from_json(one) for one in index["skeletons"]]
        self._shards = Shards([self.folder / Path(shard["file"]).name for shard in index["shards"]])
        for path, shard in zip(self._shards.paths, index["shards"], strict=True):
            found = path.stat().st_size if path.is_file() else 0
            if found != shard["bytes"]:
                raise AnnotationError(
                    f"Packed dataset {self.folder}: shard {path.name} has {found} bytes, its index says "
                    f"{shard['bytes']}. Copy or pack it again."
                )
        if skeleton is None and len(self._skeletons) > 1:
            names = ", ".join(one.name for one in self._skeletons)
            raise AnnotationError(
                f"Packed dataset {self.folder} holds people on several skeletons ({names}). Say which to see them on: "
                "skeleton=... (--skeleton on the command line)."
            )
        self.skeleton = skeleton or self._skeletons[0]
        self._raw = index["version"] == RAW_VERSION
        self._ids = [row[0] for row in index["pictures"]]
        self._where = np.array([row[1:] for row in index["pictures"]], dtype=np.int64).reshape(-1, 5)

    @property
    def ids(self) -> Sequence[int | str]:
        return self._ids

    def people_table(self) -> PeopleTable:
        """Return everybody in the samples: reads the descriptions, no pictures. Damaged ones count as empty."""
        found: list[list[PeopleTable]] = [[] for _ in self._skeletons]
        for index, (shard, *_, offset, size) in enumerate(self._where.tolist()):
            try:
                data = json.loads(self._shards.read(shard, offset, size))
                found[data["skeleton"]].append(_table(data, self._skeletons[data["skeleton"]], index))
            except (ValueError, LookupError, TypeError):
                continue  # __getitem__ says so
        if not any(found):
            raise AnnotationError(f"Packed dataset {self.folder}: all descriptions are damaged. Copy or pack it again.")
        return join_tables([join_tables(tables).on(self.skeleton) for tables in found if tables])

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> Sample:
        shard, *spans = self._where[index].tolist()
        picture, text = self._shards.view(shard, *spans[:2]), self._shards.read(shard, *spans[2:])
        try:
            data = json.loads(text)
            image = _pixels(picture, *data["size"]) if self._raw else _decoded(picture)
            sample = _sample(data, image, self._skeletons, self.person_masks)
        except (ValueError, LookupError, TypeError, AnnotationError) as error:
            raise PictureError(
                f"Picture {self._ids[index]} in {self._shards.paths[shard]} is damaged ({error}). Copy or pack it "
                "again."
            ) from error
        return remap(sample, self.skeleton)


def _decoded(data: memoryview) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise ValueError("no picture")
    return image


def _pixels(data: memoryview, width: int, height: int) -> np.ndarray:
    """Return the end of a .npy file as a picture, in place: nothing is copied, and nobody may write to it."""
    size = width * height * 3
    if len(data) < size:
        raise ValueError("no picture")
    return np.frombuffer(data, np.uint8, offset=len(data) - size).reshape(height, width, 3)


def _sample(data: dict[str, Any], image: np.ndarray, skeletons: list[Skeleton], person_masks: bool) -> Sample:
    skeleton, people = skeletons[data["skeleton"]], len(data["keypoints"])
    count = skeleton.num_keypoints
    weights, masks = data["keypoint_weights"], data["person_masks"]
    return Sample(
        skeleton=skeleton,
        image=image,
        keypoints=np.array(data["keypoints"], dtype=np.float32).reshape(people, count, 3),
        boxes=np.array(data["boxes"], dtype=np.float32).reshape(people, 4),
        areas=np.array(data["areas"], dtype=np.float32),
        ignore=None if data["ignore"] is None else np.ascontiguousarray(decode_runs(data["ignore"])),
        labelled=None if data["labelled"] is None else np.array(data["labelled"], dtype=bool),
        keypoint_weights=None if weights is None else np.array(weights, dtype=np.float32).reshape(people, count),
        person_masks=tuple(decode_runs(one) for one in masks) if person_masks and masks is not None else None,
        id=data["id"],
    )


def _table(data: dict[str, Any], skeleton: Skeleton, index: int) -> PeopleTable:
    """Return the people of one description, that of picture number `index`."""
    people = len(data["keypoints"])
    return PeopleTable(
        skeleton=skeleton,
        picture=np.full(people, index, dtype=np.int32),
        person=np.arange(people, dtype=np.int32),
        keypoints=np.array(data["keypoints"], dtype=np.float32).reshape(people, skeleton.num_keypoints, 3),
        boxes=np.array(data["boxes"], dtype=np.float32).reshape(people, 4),
        areas=np.array(data["areas"], dtype=np.float32).reshape(people),
        sizes=np.tile(np.array(data["size"], dtype=np.float32).reshape(1, 2), (people, 1)),
        crowd=np.zeros(people, dtype=bool),
    )


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    if not path.is_file():
        raise AnnotationError(
            f"Folder {folder} has no {INDEX}, so it is no packed dataset. Give one that `litepose data pack` wrote, or "
            "an annotation file."
        )
    try:
        index = json.loads(path.read_bytes())
        kind, version = index["format"], index["version"]
        fields = {"skeletons", "shards", "pictures"} <= set(index)
    except (ValueError, KeyError, TypeError) as error:
        raise AnnotationError(f"{path} cannot be read as the index of a packed dataset: {error!r}.") from error
    if kind != FORMAT or version > RAW_VERSION or not fields:
        raise AnnotationError(
            f"{path} is {kind!r} version {version}; this litepose reads {FORMAT!r} up to version {RAW_VERSION}. "
            "Pack again, or upgrade litepose."
        )
    return index
