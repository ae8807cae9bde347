"""What torch.save wrote, described before a byte of a tensor is read: the zip format and the one before torch 1.6.

A zip holds `data.pkl`, a pickle of everything but the numbers, and one record of numbers for each storage. The older
format is five pickles in a row (a magic number, a version, the machine, the content, the storages' keys), then the
storages' numbers. A tensor is a view of a storage: offset, size and stride, all checked here against what the file
holds. `unpickling` reads the pickles; torch's own functions are called by none of this.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from litepose.errors import CheckpointError
from litepose.unpickling import Foreign, MalformedPickle, Name, read_pickle, readable

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C  # the first pickle of the older format
MAX_DIRECTORY = 8 << 20  # bytes of a zip's table of contents; 5,000 tensors take half a megabyte
MAX_RANK = 16

STORAGES = {
    "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
    "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
    "Bool": torch.bool, "ComplexFloat": torch.complex64, "ComplexDouble": torch.complex128, "Untyped": torch.uint8,
}  # fmt: skip
_PLACES = ("torch.", "torch.cuda.", "torch.storage.")
_PARAMETERS = ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state")
_DTYPES = {str(dtype): dtype for dtype in (*STORAGES.values(), torch.uint16, torch.uint32, torch.uint64)}
# Functions and constants of torch that stand in checkpoints; its classes do too, as metadata.
KNOWN_NAMES = {
    "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", *_PARAMETERS,
    "torch._tensor._rebuild_from_type_v2", "torch.device", "torch.serialization._get_layout", *_DTYPES,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Storage:
    """A row of numbers in a file. key: its name there. count: of numbers. start: the first, where it is a part."""

    key: str
    dtype: torch.dtype
    count: int
    start: int = 0


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor as the file describes it; offset and stride count numbers of its storage."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: torch.Size
    stride: tuple[int, ...]

    def numel(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class TorchFile:
    """An opened file: its content with a `StoredTensor` for each tensor, and how the numbers are read.

    layout: "zip" or "legacy". names: what the pickle names, in order, each once; nothing of it was imported.
    """

    layout: str
    content: Any
    names: tuple[str, ...]
    read: Callable[[Iterable[Storage]], Iterator[bytes]]

    def load(self, tensors: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
        """Return the tensors, views of their storages' numbers; shared ones are read once.

        Raises MalformedPickle, OSError.
        """
        storages = {stored.storage.key: stored.storage for stored in tensors.values()}
        rows = {}
        for storage, data in zip(storages.values(), self.read(storages.values()), strict=True):
            if len(data) < _num_bytes(storage):
                raise MalformedPickle(f"storage {readable(storage.key)!r} is shorter than its tensors")
            rows[storage.key] = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0).byte()
        return {name: _view(rows[stored.storage.key], stored) for name, stored in tensors.items()}


def _view(row: Tensor, stored: StoredTensor) -> Tensor:
    count = len(row) // stored.dtype.itemsize * stored.dtype.itemsize
    offset = stored.storage.start + stored.offset
    return row[:count].view(stored.dtype).as_strided(stored.shape, stored.stride, offset)


def open_torch_file(path: Path, *, check: Callable[[str], None]) -> TorchFile:
    """Describe a file of either format. check: called with each name in it, to raise where it must not go on.

    Raises MalformedPickle, OSError, CheckpointError where the file is of a kind that stays closed.
    """
    try:
        return _open(path, check)
    except (MalformedPickle, CheckpointError, OSError):
        raise
    except Exception as error:  # untrusted bytes break the parsing in any way
        raise MalformedPickle(readable(f"{type(error).__name__}: {error}")) from error


def _open(path: Path, check: Callable[[str], None]) -> TorchFile:
    with path.open("rb") as file:
        start = file.read(512)
        if start[257:262] == b"ustar":
            raise CheckpointError(
                f"{path} is a tar archive, as torch wrote before 0.1.10, or one that holds a checkpoint. Unpack it; "
                "save the weights again with a newer torch where it holds none."
            )
        if start[:4] == b"PK\x03\x04":
            return _open_zip(path, check)
        file.seek(0)
        return _open_legacy(path, file, check)


# --- the zip format ---


def _open_zip(path: Path, check: Callable[[str], None]) -> TorchFile:
    _check_directory(path)
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name == "data.pkl" or name.endswith("/data.pkl")]
        if any(name.endswith("constants.pkl") for name in entries):
            raise CheckpointError(
                f"{path} is a TorchScript archive, which carries its network's code. It was not opened. Open it with "
                "torch.jit.load where you trust it, and save its state_dict()."
            )
        if len(pickles) != 1:
            raise MalformedPickle("the zip archive holds no data.pkl, so torch.save did not write it")
        folder = pickles[0].removesuffix("data.pkl")
        _check_entries(path, entries)
        order = f"{folder}byteorder"
        if order in entries and archive.read(order) != b"little":
            raise MalformedPickle("its numbers are big-endian")
        reader = _PickleReader(check, lambda storage: _check_record(entries, folder, storage))
        with archive.open(pickles[0]) as file:
            content = reader.read(file)  # type: ignore[arg-type]
    return TorchFile("zip", content, tuple(reader.names), lambda storages: _zip_records(path, folder, storages))


def _check_directory(path: Path) -> None:
    """Refuse a table of contents that would fill the memory before its first entry could be looked at."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22))
        end = file.read()
    at = end.rfind(b"PK\x05\x06")
    if at < 0 or len(end) < at + 22:
        raise MalformedPickle("as a zip archive it lacks its end")
    claimed = struct.unpack_from("<I", end, at + 12)[0]
    zip64 = end.rfind(b"PK\x06\x06")
    if claimed == 0xFFFFFFFF and 0 <= zip64 <= len(end) - 56:
        claimed = struct.unpack_from("<Q", end, zip64 + 40)[0]
    if claimed > MAX_DIRECTORY:
        raise MalformedPickle(f"its zip archive has a table of contents of {claimed:,} bytes")


def _check_entries(path: Path, entries: dict[str, zipfile.ZipInfo]) -> None:
    """Refuse zip bombs: torch stores its records as they are, one behind the other."""
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
        raise MalformedPickle("records of its zip archive are compressed, as torch.save never writes them")
    if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
        raise MalformedPickle("its zip archive claims to hold more bytes than it has")


def _check_record(entries: dict[str, zipfile.ZipInfo], folder: str, storage: Storage) -> None:
    entry = entries.get(f"{folder}data/{storage.key}")
    if entry is None or entry.file_size < _num_bytes(storage):
        found = "absent" if entry is None else f"{entry.file_size:,} bytes"
        raise MalformedPickle(f"storage {readable(storage.key)!r} claims {_num_bytes(storage):,} bytes and is {found}")


def _zip_records(path: Path, folder: str, storages: Iterable[Storage]) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            for storage in storages:
                yield archive.read(f"{folder}data/{storage.key}")
    except Exception as error:  # a checksum that fails, a header that contradicts the table
        raise MalformedPickle(readable(str(error))) from error


# --- the format before torch 1.6 ---


def _open_legacy(path: Path, file: BinaryIO, check: Callable[[str], None]) -> TorchFile:
    reader = _PickleReader(check, lambda storage: None)
    if reader.read(file) != MAGIC_NUMBER:
        raise MalformedPickle("it is a pickle, but none that torch.save wrote")
    reader.read(file)  # the version
    machine = reader.read(file)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise MalformedPickle("its numbers are big-endian")
    content, keys = reader.read(file), reader.read(file)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise MalformedPickle("the list of its storages is none")
    starts = _positions(file, path.stat().st_size, keys, reader.storages)

    def read(storages: Iterable[Storage]) -> Iterator[bytes]:
        with path.open("rb") as again:
            for storage in storages:
                again.seek(starts[storage.key])
                yield again.read(_num_bytes(storage))

    return TorchFile("legacy", content, tuple(reader.names), read)


def _positions(file: BinaryIO, size: int, keys: list[str], storages: dict[str, Storage]) -> dict[str, int]:
    """Return where each storage's numbers begin; each has its count in front. All must lie inside the file."""
    starts, at = {}, file.tell()
    for key in keys:
        file.seek(at)
        count, storage = struct.unpack("<q", file.read(8))[0], storages.get(key)
        if storage is None or count != storage.count or at + 8 + _num_bytes(storage) > size:
            raise MalformedPickle(f"storage {readable(key)!r} is not what its tensors say, or cut off")
        starts[key] = at + 8
        at += 8 + _num_bytes(storage)
    if not starts.keys() >= storages.keys():
        raise MalformedPickle("storages of it are absent")
    return starts


# --- the pickle inside ---


class _PickleReader:
    """Reads pickles of one file and collects the names and storages that they hold."""

    def __init__(self, check: Callable[[str], None], check_storage: Callable[[Storage], None]) -> None:
        self.check, self.check_storage = check, check_storage
        self.names: dict[str, None] = {}
        self.storages: dict[str, Storage] = {}

    def read(self, file: BinaryIO) -> Any:
        return read_pickle(file, check=self._see, build=self._build, persistent=self._storage)

    def _see(self, name: str) -> None:
        self.check(name)
        self.names[name] = None

    def _storage(self, identifier: Any) -> Storage:
        """Read ("storage", type, key, device, count), in the older format followed by a view (key, offset, count)."""
        if isinstance(identifier, tuple) and identifier[:1] == ("module",):
            raise PickledNetwork
        kind, type_name, key, _, count, *view = identifier
        dtype = _storage_dtype(type_name)
        if kind != "storage" or not isinstance(key, str) or not _is_count(count):
            raise MalformedPickle("it refers to something other than a storage")
        known = self.storages.setdefault(key, Storage(key, dtype, count))
        if (known.dtype, known.count) != (dtype, count):
            raise MalformedPickle(f"storage {readable(key)!r} is described in two ways")
        self.check_storage(known)
        return _part(known, view[0]) if view and view[0] is not None else known

    def _build(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name.startswith("torch._utils._rebuild_tensor"):
            return _tensor(name, arguments)
        if name in _PARAMETERS:
            return arguments[0]
        if name == "torch._tensor._rebuild_from_type_v2":
            function, _, inner, _ = arguments
            return self._build(function.text, inner)
        if name == "torch.Size":
            return arguments[0]
        if name == "collections.OrderedDict":  # Python 2 hands its pairs over, Python 3 sets them afterwards
            return {key: value for key, value in arguments[0] if isinstance(key, str)} if arguments else {}
        return Foreign(name)


class PickledNetwork(MalformedPickle):
    """The file holds a network with its classes, not its weights alone."""


def _storage_dtype(name: Any) -> torch.dtype:
    text = name.text if isinstance(name, Name) else ""
    for place in _PLACES:
        kind = text.removeprefix(place).removesuffix("Storage")
        if text == f"{place}{kind}Storage" and kind in STORAGES:
            return STORAGES[kind]
    raise MalformedPickle(f"it has numbers of an unknown kind, {readable(text)!r}")


def _part(whole: Storage, view: Any) -> Storage:
    _, offset, count = view
    if not _is_count(offset) or not _is_count(count) or offset + count > whole.count:
        raise MalformedPickle("a part of a storage lies outside of it")
    return Storage(whole.key, whole.dtype, whole.count, start=offset)


def _tensor(name: str, arguments: tuple[Any, ...]) -> StoredTensor:
    storage, offset, size, stride, *rest = arguments
    if not isinstance(storage, Storage) or not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise MalformedPickle("a tensor of it has no storage, size or stride")
    if len(size) != len(stride) or len(size) > MAX_RANK or not all(map(_is_count, (offset, *size, *stride))):
        raise MalformedPickle("a tensor of it has an impossible size or stride")
    dtype = storage.dtype
    if name.endswith("_v3"):
        dtype = _DTYPES[rest[2].text]
    if 0 not in size:
        last = storage.start + offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
        if (last + 1) * dtype.itemsize > _num_bytes(storage):
            raise MalformedPickle("a tensor of it reaches beyond its storage")
    elif storage.start + offset > storage.count:
        offset = 0
    return StoredTensor(storage, dtype, offset, torch.Size(size), stride)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 48


def _num_bytes(storage: Storage) -> int:
    return storage.count * storage.dtype.itemsize
