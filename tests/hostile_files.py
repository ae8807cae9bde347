"""Malformed and hostile checkpoints, made from a seed: what test_hostile_files.py opens in a watched process."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hostile_single import (
    CANARY,
    COMMAND,
    PYTHON,
    bad_legacy,
    bad_pickles,
    bad_safetensors,
    bad_tensors,
    bad_zips,
    other_formats,
)
from pickle_writing import (
    GOOD_TENSOR,
    legacy,
    name,
    number,
    pickled,
    reduce,
    sizes,
    state,
    tensor,
    text,
    tuple_of,
    zip_of,
    zipped,
)


@dataclass(frozen=True)
class HostileFile:
    """A file to be opened. content: None makes a folder. fails: it must be refused, whatever is asked of it."""

    name: str
    content: bytes | None
    fails: bool = True


def hostile_files(seed: int, rounds: int, good: dict[str, bytes]) -> Iterator[HostileFile]:
    """Yield the files; each round adds more of the random ones.

    good: whole checkpoints that the random ones are made of: "zip", "legacy", "safetensors", "onnx".
    """
    rng = np.random.default_rng(seed)
    yield from fixed_files(good)
    for index in range(rounds):
        for file in (*calls(rng), *broken(rng, good), *edited_pickles(rng, good)):
            yield HostileFile(f"{index}-{file.name}", file.content, file.fails)


def fixed_files(good: dict[str, bytes]) -> Iterator[HostileFile]:
    yield from (HostileFile(f"format-{key}", content) for key, content in other_formats(good).items())
    yield from (HostileFile(f"pickle-{key}.pth", wrap) for key, wrap in bad_pickles().items())
    yield from (
        HostileFile(f"tensor-{key}.pth", zipped(state((text("w"), body)))) for key, body in bad_tensors().items()
    )
    yield from (HostileFile(f"zip-{key}.pth", content) for key, content in bad_zips(good["zip"]).items())
    yield from (HostileFile(f"legacy-{key}.pth", content) for key, content in bad_legacy().items())
    yield from (HostileFile(f"st-{key}.safetensors", content) for key, content in bad_safetensors().items())
    yield HostileFile("folder.pth", None)
    yield HostileFile("folder.onnx", None)


# --- calls of what must never be called ---

TARGETS: tuple[tuple[str, str, tuple[bytes, ...]], ...] = (
    ("os", "system", (text(COMMAND),)),
    ("posix", "system", (text(COMMAND),)),
    ("nt", "system", (text(COMMAND),)),
    ("os", "popen", (text(COMMAND),)),
    ("os", "_exit", (number(3),)),
    ("subprocess", "Popen", (text(COMMAND), b"\x88")),
    ("subprocess", "check_output", (tuple_of(text("touch"), text(CANARY)),)),
    ("builtins", "eval", (text(PYTHON),)),
    ("builtins", "exec", (text(PYTHON),)),
    ("__builtin__", "eval", (text(PYTHON),)),
    ("__builtin__", "execfile", (text(CANARY),)),
    ("builtins", "open", (text(CANARY), text("w"))),
    ("io", "open", (text(CANARY), text("w"))),
    ("builtins", "__import__", (text("antigravity"),)),
    ("builtins", "getattr", (name("os", "path"), text("join"))),
    ("builtins", "breakpoint", ()),
    ("builtins", "input", ()),
    ("importlib", "import_module", (text("antigravity"),)),
    ("runpy", "run_path", (text(CANARY),)),
    ("runpy", "_run_code", (text(PYTHON), b"}")),
    ("pty", "spawn", (text("sh"),)),
    ("shutil", "rmtree", (text("."),)),
    ("socket", "create_connection", (tuple_of(text("127.0.0.1"), number(9)),)),
    ("urllib.request", "urlopen", (text("http://127.0.0.1:9"),)),
    ("ctypes", "CDLL", (text("libc.so.6"),)),
    ("pickle", "loads", (text("cos\nsystem\n"),)),
    ("marshal", "loads", (text("c"),)),
    ("types", "FunctionType", (b"N", b"}")),
    ("operator", "attrgetter", (text("system"),)),
    ("functools", "partial", (name("os", "system"), text(COMMAND))),
    ("code", "interact", ()),
    ("timeit", "timeit", (text(PYTHON),)),
    ("cProfile", "run", (text(PYTHON),)),
    ("webbrowser", "open", (text("http://127.0.0.1:9"),)),
    ("pathlib", "Path.touch", (text(CANARY),)),
    ("torch", "load", (text(CANARY),)),
    ("torch.hub", "load", (text("a/b"), text("c"))),
    ("torch.utils.cpp_extension", "load_inline", (text("x"), text("int x;"))),
    ("torch.jit", "load", (text(CANARY),)),
    ("torch.nn.modules.module", "Module", ()),
    ("numpy.f2py.crackfortran", "getlincoef", (text(PYTHON), b"}")),
    ("numpy.testing._private.utils", "runstring", (text(PYTHON), b"}")),
    ("numpy", "load", (text(CANARY), b"N", b"\x88")),
    ("pip", "main", (tuple_of(text("install"), text("antigravity")),)),
    ("antigravity", "fly", ()),
)
LIBRARY = {"numpy.f2py.crackfortran", "numpy.testing._private.utils", "numpy", "pip", "antigravity", "pathlib"}


def ways(module: str, leaf: str, arguments: tuple[bytes, ...]) -> dict[str, bytes]:
    """Every opcode by which a pickle calls a name."""
    joined = b"".join(arguments)
    stack_name = text(module) + text(leaf) + b"\x93"
    return {
        "reduce": reduce(module, leaf, *arguments),
        "stack": stack_name + tuple_of(*arguments) + b"R",
        "inst": b"(" + joined + f"i{module}\n{leaf}\n".encode(),
        "obj": b"(" + name(module, leaf) + joined + b"o",
        "newobj": name(module, leaf) + tuple_of(*arguments) + b"\x81",
        "newobj_ex": stack_name + tuple_of(*arguments) + b"}\x92",
        "build": name(module, leaf) + tuple_of(*arguments) + b"b",
        "setstate": reduce("argparse", "Namespace") + state((text("__setstate__"), name(module, leaf))) + b"b",
        "chain": reduce("builtins", "getattr", reduce("builtins", "__import__", text(module)), text(leaf))
        + tuple_of(*arguments)
        + b"R",
        "function": reduce(
            "torch._tensor",
            "_rebuild_from_type_v2",
            name(module, leaf),
            name("torch", "Tensor"),
            tuple_of(*arguments),
            b"}",
        ),
    }


PLACES: dict[str, Callable[[bytes], bytes]] = {
    "raw": pickled,
    "zip": lambda body: zipped(body),
    "legacy": legacy,
    "beside": lambda body: zipped(state((text("state_dict"), state((text("w"), GOOD_TENSOR))), (text("x"), body))),
    "beside-legacy": lambda body: legacy(
        state((text("state_dict"), state((text("w"), GOOD_TENSOR))), (text("x"), body))
    ),
    "tensor": lambda body: zipped(state((text("w"), body))),
    "key": lambda body: zipped(state((body, GOOD_TENSOR))),
    "storage": lambda body: zipped(state((text("w"), tensor(sizes(2), sizes(1), row=body)))),
    "persistent": lambda body: zipped(body + b"Q"),
    "hooks": lambda body: zipped(reduce("torch._utils", "_rebuild_parameter", GOOD_TENSOR, b"\x88", body)),
}


def calls(rng: np.random.Generator) -> Iterator[HostileFile]:
    """Every target once, called in a random way from a random place."""
    for module, leaf, arguments in TARGETS:
        way, body = choice(rng, ways(module, leaf, arguments))
        place, wrap = choice(rng, PLACES)
        # The state does not fit the network, so that even what is read past does not come in.
        harmless = module in LIBRARY and place.startswith("beside")
        yield HostileFile(f"call-{module}.{leaf}-{way}-{place}.pth", wrap(body), fails=not harmless)


def choice(rng: np.random.Generator, table: dict[str, Any]) -> tuple[str, Any]:
    key = list(table)[int(rng.integers(len(table)))]
    return key, table[key]


# --- whole files, broken ---


def broken(rng: np.random.Generator, good: dict[str, bytes]) -> Iterator[HostileFile]:
    """Cut off, with bits turned, with pieces moved or repeated."""
    suffixes = {"zip": "pth", "legacy": "pth.tar", "safetensors": "safetensors", "onnx": "onnx"}
    for kind, whole in good.items():
        for index in range(6):
            cut = int(rng.integers(len(whole)))
            yield HostileFile(f"cut-{kind}-{index}.{suffixes[kind]}", whole[:cut], fails=kind != "onnx")
            near = int(min(len(whole), 4000) * rng.random())
            yield HostileFile(f"turned-{kind}-{index}.{suffixes[kind]}", turned(rng, whole, near), fails=False)
        at, length = (int(value) for value in rng.integers(1, len(whole) // 2, 2))
        moved = whole[:at] + whole[at + length :] + whole[at : at + length]
        yield HostileFile(f"moved-{kind}.{suffixes[kind]}", moved, fails=False)
        yield HostileFile(f"twice-{kind}.{suffixes[kind]}", whole + whole, fails=False)


def turned(rng: np.random.Generator, whole: bytes, near: int) -> bytes:
    """A few bytes with one bit turned: in the head, in the tail, anywhere."""
    content = bytearray(whole)
    for at in (near, len(whole) - 1 - near, *rng.integers(len(whole), size=int(rng.integers(1, 6)))):
        content[int(at)] ^= 1 << int(rng.integers(8))
    return bytes(content)


def edited_pickles(rng: np.random.Generator, good: dict[str, bytes]) -> Iterator[HostileFile]:
    """Zips whose checksums are right and whose pickle had bytes changed, dropped, put in or swapped."""
    with zipfile.ZipFile(io.BytesIO(good["zip"])) as archive:
        entries = {entry: archive.read(entry) for entry in archive.namelist()}
    inner = next(entry for entry in entries if entry.endswith("data.pkl"))
    for index in range(20):
        body = bytearray(entries[inner])
        for _ in range(int(rng.integers(1, 8))):
            at, kind = int(rng.integers(2, len(body))), int(rng.integers(4))
            if kind == 0:
                body[at] = int(rng.integers(256))
            elif kind == 1:
                del body[at : at + int(rng.integers(1, 9))]
            elif kind == 2:
                body[at:at] = rng.integers(256, size=int(rng.integers(1, 5)), dtype=np.uint8).tobytes()
            else:
                body[at:at] = bytes([OPCODES[int(rng.integers(len(OPCODES)))]])
        yield HostileFile(f"edited-{index}.pth", zip_of({**entries, inner: bytes(body)}), fails=False)


OPCODES = b"(.0125FIJKLMNPQRSTUVXabcdefghijlopqrstu}])\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8b" + bytes(
    range(0x8C, 0x99)
)


def write(folder: Path, file: HostileFile) -> Path:
    path = folder / file.name
    if file.content is None:
        path.mkdir()
    else:
        path.write_bytes(file.content)
    return path
