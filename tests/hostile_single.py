"""The hostile files that are made one by one: other formats, impossible pickles, tensors, zips, headers."""

from __future__ import annotations

import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from pickle_writing import (
    GOOD_TENSOR,
    legacy,
    name,
    number,
    pickled,
    reduce,
    safetensors,
    sizes,
    state,
    storage,
    tensor,
    text,
    tuple_of,
    zip_of,
    zipped,
)

CANARY = "canary"  # a file that must not appear
COMMAND = f"touch {CANARY}"
PYTHON = f"open({CANARY!r}, 'w')"


def other_formats(good: dict[str, bytes]) -> dict[str, bytes]:
    array = io.BytesIO()
    np.savez(array, w=np.zeros(3))
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("../../escaped")
        entry.size = 3
        tar.addfile(entry, io.BytesIO(b"abc"))
    return {
        "empty.pth": b"",
        "empty.safetensors": b"",
        "empty.onnx": b"",
        "one-byte.pth": b"\x80",
        "text.pth": b"hello",
        "json.pth": b'{"state_dict": {}}',
        "list.pth": b"[1, 2, 3]",
        "html.pth": b"<!DOCTYPE html><html>Sign in</html>",
        "jpeg.pth": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(200),
        "png.pth": b"\x89PNG\r\n\x1a\n" + bytes(200),
        "elf.pth": b"\x7fELF" + bytes(300),
        "gzip.pth": b"\x1f\x8b" + zlib.compress(good["legacy"])[2:],
        "npz.pth": array.getvalue(),
        "npy.pth": single.getvalue(),
        "tar.pth.tar": archive.getvalue(),
        "zeros.pth": bytes(5000),
        "newlines.pth": b"\n" * 5000,
        "noise.pth": np.random.default_rng(0).bytes(5000),
        "noise.onnx": np.random.default_rng(1).bytes(5000),
        "pickle.onnx": pickled(reduce("os", "system", text(COMMAND))),
        "hdf5.ckpt": b"\x89HDF\r\n\x1a\n" + bytes(100),
        "script.bin": b"import os\nos.system('" + COMMAND.encode() + b"')",
    }


def bad_pickles() -> dict[str, bytes]:
    deep = 100_000
    laughs = b"]" + b"".join(b"q%c(" % i + b"h%c" % i * 10 + b"e]" for i in range(60))
    colliding = b"".join(number(k * ((1 << 61) - 1)) + b"N" for k in range(1, 20_000))
    bodies = {
        "memo-huge": b"]r\xff\xff\xff\x7f0N",
        "memo-negative": b"]p-5\n0N",
        "memo-text": b"]pxyz\n0N",
        "memo-absent": b"h\x07",
        "laughs": laughs,
        "deep-tuples": b")" + b"\x85" * deep,
        "deep-key": b"}" + b")" + b"\x85" * deep + b"Ns",
        "deep-lists": b"]" * deep + b"a" * (deep - 1),
        "deep-dicts": (b"}" + text("state_dict")) * 5000 + b"}" + b"s" * 5000,
        "many-marks": b"(" * deep,
        "own-list": b"]q\x00h\x00a",
        "own-dict": b"}q\x00" + text("state_dict") + b"h\x00s",
        "collisions": b"}(" + colliding + b"u",
        "many-steps": b"N0" * 600_000 + b"N",
        "bytes8": b"\x8e" + struct.pack("<Q", 1 << 60),
        "bytes4": b"B\xff\xff\xff\x7f",
        "text8": b"\x8d" + b"\xff" * 8,
        "bytearray8": b"\x96" + struct.pack("<Q", 1 << 34),
        "long4": b"\x8b\xff\xff\xff\x7f",
        "long4-negative": b"\x8b" + b"\xff" * 4,
        "frame": b"\x95" + struct.pack("<Q", 1 << 62),
        "digits": b"I" + b"9" * 100_000 + b"\n",
        "float": b"Fnan and more\n",
        "string": b"S'unclosed\n",
        "escape": b"S'\\x'\n",
        "unicode": b"V\\ud800\\u12\n",
        "utf8": b"X\x02\x00\x00\x00\xff\xfe",
        "protocol": b"\x80\xff",
        "ext": b"\x82\x01",
        "ext4": b"\x84\xff\xff\xff\x7f",
        "buffer": b"\x97",
        "readonly": b"\x98",
        "pop-nothing": b"000",
        "no-mark": b"t",
        "append-nothing": b"Na",
        "odd-items": b"}(Nu",
        "set-on-text": text("a") + b"NNs",
        "call-text": text("a") + b")R",
        "call-tensor": GOOD_TENSOR + b")R",
        "call-list": name("a", "b") + b"]R",
        "build-nothing": b"Nb",
        "names-text": b"NN\x93",
        "name-lines": name("a b", "c\td"),
        "name-escape": name("\x1b[2J", "x"),
        "name-long": name("a" * 100_000, "b"),
        "persistent-text": b"Pabc\n",
        "persistent-none": b"NQ",
        "persistent-short": tuple_of(text("storage")) + b"Q",
        "module": tuple_of(text("module"), b"N", text("f.py"), text("x")) + b"Q",
        "list": b"]" + GOOD_TENSOR + b"a",
        "just-tensor": GOOD_TENSOR,
        "nothing": b"N",
        "empty-dict": b"}",
        "tensor-state": GOOD_TENSOR + b"}b",
        "ordered-text": reduce("collections", "OrderedDict", text("abc")),
        "ordered-number": reduce("collections", "OrderedDict", number(1 << 40)),
        "bytearray": reduce("builtins", "bytearray", number(1 << 40)),
        "set": reduce("builtins", "set", number(1)),
        "counter": reduce("collections", "Counter", text("a" * 1000)),
        "size": reduce("torch", "Size", number(3)),
        "namedtuple": reduce("collections", "namedtuple", text("x"), text(f"a={PYTHON}")),
        "encode": reduce("_codecs", "encode", text("x"), text("zip")),
        "reconstruct": reduce("copy_reg", "_reconstructor", name("os", "system"), name("__builtin__", "object"), b"N"),
    }
    return {key: zipped(body) for key, body in bodies.items()} | {
        "name-in-tensor": zipped(state((text("a\x1b[2Jb"), GOOD_TENSOR))),
        "name-huge": zipped(state((text("w" * 100_000), GOOD_TENSOR))),
        "name-newline": zipped(state((text("w\nlitepose: fine"), GOOD_TENSOR))),
        "name-surrogate": zipped(state((text("w\ud800"), GOOD_TENSOR))),
        "unfinished": zip_of({"a/data.pkl": b"\x80\x02}(", "a/data/0": bytes(16)}),
        "nothing-at-all": zip_of({"a/data.pkl": b"", "a/data/0": bytes(16)}),
    }


def bad_tensors() -> dict[str, bytes]:
    one = sizes(1)
    return {
        "beyond": tensor(sizes(5), one),
        "beyond-offset": tensor(sizes(4), one, offset=1),
        "huge": tensor(sizes(1 << 62), one),
        "overflow": tensor(sizes(1 << 47, 1 << 47), sizes(0, 0)),
        "negative-size": tensor(sizes(-1), one),
        "expanded": tensor(sizes(1 << 40), sizes(0)),
        "negative-stride": tensor(sizes(2), sizes(-1), offset=3),
        "negative-offset": tensor(sizes(2), one, offset=-1),
        "rank": tensor(sizes(2, 2), one),
        "rank-99": tensor(sizes(*[1] * 99), sizes(*[1] * 99)),
        "text-size": tensor(text("ab"), one),
        "float-size": tensor(tuple_of(b"G" + struct.pack(">d", 2.0)), one),
        "bool-size": tensor(tuple_of(b"\x88"), one),
        "none": tensor(b"N", b"N"),
        "no-storage": tensor(sizes(2), one, row=b"N"),
        "text-storage": tensor(sizes(2), one, row=text("0")),
        "many": tensor(sizes(2), one, row=storage(1 << 40)),
        "negative": tensor(sizes(2), one, row=storage(-4)),
        "longer": tensor(sizes(2), one, row=storage(5)),
        "double": tensor(sizes(2), one, row=storage(4, "DoubleStorage")),
        "kind": tensor(sizes(2), one, row=storage(4, "QInt8Storage")),
        "kind-odd": tensor(sizes(2), one, row=storage(4, "Tensor")),
        "key-up": tensor(sizes(2), one, row=storage(4, key="../../../../etc/passwd")),
        "key-zero": tensor(sizes(2), one, row=storage(4, key="a\x00b")),
        "key-absent": tensor(sizes(2), one, row=storage(4, key="7")),
        "few": reduce("torch._utils", "_rebuild_tensor_v2"),
        "many-arguments": reduce("torch._utils", "_rebuild_tensor", *[b"N"] * 50),
        "v3": tensor(sizes(2), one, leaf="_v3"),
        "v9": tensor(sizes(2), one, leaf="_v9"),
        "parameter": reduce("torch._utils", "_rebuild_parameter"),
        "from-type": reduce("torch._tensor", "_rebuild_from_type_v2", b"N"),
        "sparse": reduce("torch._utils", "_rebuild_sparse_tensor", b"N", b"N"),
        "qtensor": reduce("torch._utils", "_rebuild_qtensor", b"N"),
        "nested-from-type": reduce(
            "torch._tensor", "_rebuild_from_type_v2", name("os", "system"), b"N", tuple_of(text(COMMAND)), b"N"
        ),
        "fits-not": GOOD_TENSOR,
        "scalar": tensor(b")", b")"),
        "empty": tensor(sizes(0), one, offset=9),
    }


def bad_zips(whole: bytes) -> dict[str, bytes]:
    good = {"a/data.pkl": pickled(state((text("w"), GOOD_TENSOR))), "a/data/0": bytes(16)}
    bomb = {**good, "a/data/0": bytes(60 << 20)}
    plain = zip_of(good)
    end = plain.rfind(b"PK\x05\x06")
    encrypted = bytearray(plain)
    for at in find_all(plain, b"PK\x01\x02"):
        encrypted[at + 8] |= 1
    wrong_sum = bytearray(plain)
    wrong_sum[plain.find(bytes(16), 60)] ^= 1
    sized = bytearray(plain)
    for at in find_all(plain, b"PK\x01\x02"):
        sized[at + 24 : at + 28] = struct.pack("<I", 1 << 31)
    return {
        "bomb": zip_of(bomb, compression=zipfile.ZIP_DEFLATED),
        "compressed": zip_of(good, compression=zipfile.ZIP_DEFLATED),
        "up": zip_of({"../../escaped": b"x", **good}),
        "absolute": zip_of({"/tmp/escaped/data.pkl": b"x", **good}),
        "no-pickle": zip_of({"a/data/0": bytes(16)}),
        "two-pickles": zip_of({**good, "b/data.pkl": good["a/data.pkl"]}),
        "script": zip_of({**good, "a/constants.pkl": b"x", "a/code/__torch__.py": b"x"}),
        "nothing": zip_of({}),
        "big-endian": zip_of({**good, "a/byteorder": b"big"}),
        "encrypted": bytes(encrypted),
        "checksum": bytes(wrong_sum),
        "sized": bytes(sized),
        "endless": plain[:end],
        "end-only": plain[end:],
        "head-only": b"PK\x03\x04" + bytes(200),
        "directory": plain[:end] + plain[end : end + 12] + b"\xfe\xff\xff\xff" + plain[end + 16 :],
        "directory-0": plain[:end] + plain[end : end + 12] + bytes(4) + plain[end + 16 :],
        "comment": plain[:-2] + b"\xff\xff" + b"PK\x05\x06" + bytes(40),
        "many": zip_of({f"a/data/{i}": b"" for i in range(3000)}),
        "long-names": zip_of({"a" * 60_000: b"", **good}),
        "short-storage": zip_of({**good, "a/data/0": bytes(15)}),
        "no-storage": zip_of({"a/data.pkl": good["a/data.pkl"]}),
        "tail": whole[len(whole) // 2 :],
    }


def find_all(content: bytes, what: bytes) -> Iterator[int]:
    at = content.find(what)
    while at >= 0:
        yield at
        at = content.find(what, at + 1)


def bad_legacy() -> dict[str, bytes]:
    body = state((text("w"), GOOD_TENSOR))
    part = (
        tuple_of(
            text("storage"),
            name("torch", "FloatStorage"),
            text("0"),
            text("cpu"),
            number(4),
            tuple_of(text("v"), number(3), number(9)),
        )
        + b"Q"
    )
    return {
        "no-numbers": legacy(body, tail=b""),
        "short": legacy(body, tail=struct.pack("<q", 4) + bytes(15)),
        "count": legacy(body, tail=struct.pack("<q", 1 << 60) + bytes(16)),
        "negative": legacy(body, tail=struct.pack("<q", -4) + bytes(16)),
        "keys": legacy(body, keys=text("0")),
        "other-key": legacy(body, keys=b"]" + text("1") + b"a"),
        "no-keys": legacy(body, keys=b"]"),
        "number-keys": legacy(body, keys=b"]K\x00a"),
        "many-keys": legacy(body, keys=b"](" + text("0") * 9 + b"e"),
        "magic": pickled(number(7)) + legacy(body),
        "magic-only": pickled(number(0x1950A86A20F9469CFC6C)),
        "part": legacy(state((text("w"), tensor(sizes(2), sizes(1), row=part)))),
        "fits-not": legacy(body),
        "source": legacy(tuple_of(text("module"), name("net", "Net"), text("net.py"), text("import os")) + b"Q"),
    }


def bad_safetensors() -> dict[str, bytes]:
    def one(**changes: Any) -> bytes:
        return safetensors({"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}})

    return {
        "length": safetensors({}, length=1 << 63),
        "length-long": safetensors({}, length=1 << 30),
        "length-0": safetensors({}, length=0),
        "short": b"\x05\x00",
        "json": safetensors(b"{not json}"),
        "list": safetensors([1]),
        "text": safetensors(b'"abc"'),
        "deep": safetensors(b'{"a":' + b"[" * 50_000),
        "utf8": safetensors(b'{"\xff\xfe": 1}'),
        "none": safetensors({}, b""),
        "beyond": one(data_offsets=[0, 1 << 40]),
        "behind": one(data_offsets=[16, 0]),
        "negative": one(data_offsets=[-1, 15]),
        "shape": one(shape=[3, 3]),
        "shape-negative": one(shape=[-2, -2]),
        "shape-huge": one(shape=[1 << 62, 1 << 62]),
        "shape-text": one(shape="ab"),
        "dtype": one(dtype="F7"),
        "dtype-number": one(dtype=3),
        "fits-not": one(),
        "bool": one(dtype="BOOL", shape=[16]),
        "spec-text": safetensors(
            {
                "__metadata__": {"litepose_spec": "{", "pose_spec": "{"},
                "w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
            }
        ),
        "metadata-number": safetensors({"__metadata__": {"a": 1}}, b""),
        "name-escape": safetensors({"w\x1b[2J": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
        "overlap": safetensors({key: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for key in "ab"}),
        "pickle": safetensors({}, pickled(reduce("os", "system", text(COMMAND)))),
    }
