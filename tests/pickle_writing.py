"""Pickles written opcode by opcode, and the files around them: what no pickler of Python's would write.

All pieces are bytes; a piece leaves one value on the unpickler's stack.
"""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from typing import Any


def text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    data = pickle.encode_long(value)
    return b"\x8a" + bytes([len(data)]) + data


def tuple_of(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def name(module: str, leaf: str) -> bytes:
    return f"c{module}\n{leaf}\n".encode()


def pickled(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def reduce(module: str, leaf: str, *arguments: bytes) -> bytes:
    return name(module, leaf) + tuple_of(*arguments) + b"R"


def storage(count: int = 4, kind: str = "FloatStorage", key: str = "0") -> bytes:
    return tuple_of(text("storage"), name("torch", kind), text(key), text("cpu"), number(count)) + b"Q"


def tensor(size: bytes, stride: bytes, *, offset: int = 0, row: bytes | None = None, leaf: str = "_v2") -> bytes:
    rest = (b"\x89", reduce("collections", "OrderedDict")) if leaf else ()
    return reduce("torch._utils", f"_rebuild_tensor{leaf}", row or storage(), number(offset), size, stride, *rest)


def sizes(*values: int) -> bytes:
    return tuple_of(*map(number, values))


def state(*entries: tuple[bytes, bytes]) -> bytes:
    return b"}(" + b"".join(key + value for key, value in entries) + b"u"


GOOD_TENSOR = tensor(sizes(2, 2), sizes(2, 1))


# --- containers ---


def zipped(body: bytes, **records: bytes) -> bytes:
    """A torch zip of this pickled content, with a storage "0" of four numbers."""
    return zip_of({"a/data.pkl": pickled(body), "a/byteorder": b"little", "a/data/0": bytes(16), **records})


def zip_of(entries: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for entry, data in entries.items():
            archive.writestr(zipfile.ZipInfo(entry), data, compress_type=compression)
    return buffer.getvalue()


def legacy(
    body: bytes, keys: bytes = b"](X\x01\x00\x00\x000e", tail: bytes = struct.pack("<q", 4) + bytes(16)
) -> bytes:
    machine = state((text("little_endian"), b"\x88"))
    head = [pickled(number(0x1950A86A20F9469CFC6C)), pickled(number(1001)), pickled(machine)]
    return b"".join([*head, pickled(body), pickled(keys), tail])


def safetensors(header: Any, data: bytes = bytes(16), length: int | None = None) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + data
