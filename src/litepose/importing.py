"""Checkpoints of other projects, opened without running anything in them.

Such files are pickles. `torch_files` describes them without torch's unpickler: no name in a file is imported, none
called; foreign classes among the metadata (configurations, numpy numbers, optimizer state) become inert placeholders,
so the tensors survive. A file that names what has a power of its own is refused outright: weights need nothing of it.
"""

from __future__ import annotations

import _compat_pickle
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import torch
from torch import Tensor

from litepose.errors import CheckpointError
from litepose.torch_files import (
    KNOWN_NAMES,
    STORAGES,
    PickledNetwork,
    StoredTensor,
    TorchFile,
    open_torch_file,
)
from litepose.unpickling import Foreign, MalformedPickle, readable

SOURCES = ("official", "mmpose")
SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".ckpt")
# Keys under which training checkpoints keep weights; where several hold all of a network's, the first here counts.
WRAPPERS = (
    "state_dict", "best_state_dict", "model", "model_state_dict", "network", "net", "weights", "module",
    "ema", "ema_state_dict", "state_dict_ema", "model_ema",
)  # fmt: skip
# DataParallel; the half-precision wrapper of HigherHRNet and LitePose; torch.compile.
WRAPPER_PREFIXES = ("module.", "1.", "_orig_mod.")
COUNTERS = {"n_averaged", "steps"}  # of averaged weights, beside them
MMPOSE_PREFIXES = ("backbone.", "keypoint_head.", "head.")
MMPOSE_EXTRAS = ("data_preprocessor.",)
MAX_NAME = 500  # characters of a tensor's name

# Of the standard library only plain holders of data may be named; a file that names anything else of it (subprocess,
# shutil, importlib, ...) was made to run something.
HARMLESS_MODULES = {"argparse", "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "uuid"}
HARMLESS_NAMES = {
    "types.SimpleNamespace", "types.MappingProxyType", "_codecs.encode", "copyreg._reconstructor",
    *(f"builtins.{kind}" for kind in ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int",
                                      "list", "object", "range", "set", "slice", "str", "tuple")),
}  # fmt: skip
STANDARD_MODULES = {  # with the names they had in Python 2, which pickles of protocol 2 use
    *sys.stdlib_module_names,
    *_compat_pickle.IMPORT_MAPPING,
    *_compat_pickle.REVERSE_IMPORT_MAPPING.values(),
}

TRAINING_KEYS = {"network", "optimizer", "average", "numbers", "recipe"}  # of our own trainings' checkpoint.pt

T = TypeVar("T")


@dataclass(frozen=True)
class State:
    """A mapping of names to tensors in a file.

    wrapper: the key that it lies under, "" for the file itself; "ema.state_dict" where one lies in another.
    prefix: what was cut off the front of every name. tensors: a `StoredTensor` or `SafeTensor` each.
    load: reads their numbers, on the CPU.
    """

    wrapper: str
    prefix: str
    tensors: Mapping[str, Any]
    load: Callable[[], dict[str, Tensor]]


@dataclass(frozen=True)
class SafeTensor:
    """A tensor as the head of a .safetensors file describes it. dtype: the file's own word where torch has none."""

    dtype: torch.dtype | str
    shape: torch.Size


@dataclass(frozen=True)
class Opened:
    """A checkpoint as it says itself, before its numbers are read.

    layout: "zip", "legacy" or "safetensors". keys: of its top level. foreign: names of what only its own code
    could make of its metadata. metadata: of a .safetensors file. content: of a torch file, numbers aside.
    """

    layout: str
    keys: tuple[str, ...]
    states: tuple[State, ...]
    foreign: tuple[str, ...] = ()
    metadata: Mapping[str, str] | None = None
    content: Any = None


def read_states(path: str | Path) -> list[dict[str, Tensor]]:
    """Return every mapping of names to tensors in a .pth or .pth.tar file (zip or legacy format), on the CPU.

    A training checkpoint may hold several (state_dict, best_state_dict). Wrappers' prefixes are cut off.
    Raises CheckpointError.
    """
    return [state.load() for state in open_checkpoint(path).states]


def open_checkpoint(path: str | Path) -> Opened:
    """Describe a .pth, .pth.tar or .safetensors file, whatever it is called; only its description is read.

    Raises CheckpointError, also where it holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"No checkpoint {path}. Give the path of a .pth, .pth.tar or .safetensors file.")
    try:
        opened = _open_safetensors(path) if _is_safetensors(path) else _open_pickled(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from error
    if not opened.states:
        found = readable(", ".join(map(repr, opened.keys))) or type(opened.content).__name__
        raise CheckpointError(
            f"{path} holds no mapping of names to tensors (found {found}); possible are a state dict, or one under "
            f"{', '.join(WRAPPERS)}. A pickled network must be saved again as its state_dict()."
        )
    return opened


def rename(state: Mapping[str, T], official_keys: Sequence[tuple[str, str]], *, source: str) -> dict[str, T]:
    """Return the state under our names. A name that no rule knows stays, so that the difference shows it.

    official_keys: (pattern of a whole name, replacement) pairs of the network's family.
    """
    renamed = {}
    for name, tensor in state.items():
        if source == "mmpose" and name.startswith(MMPOSE_EXTRAS):
            continue
        renamed[_our_name(name, official_keys, source) or _authors_name(name, source)] = tensor
    return renamed


def is_known(name: str, official_keys: Sequence[tuple[str, str]], *, source: str) -> bool:
    """Return whether a rule knows another project's name."""
    return _our_name(name, official_keys, source) is not None


def _our_name(name: str, official_keys: Sequence[tuple[str, str]], source: str) -> str | None:
    name = _authors_name(name, source)
    for pattern, replacement in official_keys:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return None


def _authors_name(name: str, source: str) -> str:
    return _MMPOSE_PREFIX.sub("", name) if source == "mmpose" else name


_MMPOSE_PREFIX = re.compile(f"^({'|'.join(map(re.escape, MMPOSE_PREFIXES))})")


# --- files of torch ---


def _open_pickled(path: Path) -> Opened:
    try:
        file = open_torch_file(path, check=lambda name: _refuse_powerful(path, name))
        states = tuple(_states(path, file))
    except PickledNetwork as error:
        raise _pickled_network(path) from error
    except MalformedPickle as error:
        raise _unreadable(path, error) from error
    keys = tuple(map(str, file.content)) if isinstance(file.content, dict) else ()
    foreign = tuple(name for name in file.names if not _is_torchs(name))
    return Opened(file.layout, keys, states, foreign, content=file.content)


def _states(path: Path, file: TorchFile) -> Iterator[State]:
    for wrapper, found in _mappings("", file.content):
        tensors = {name: tensor for name, tensor in found.items() if isinstance(tensor, StoredTensor)}
        if tensors:
            _check_names(path, tensors)
            prefix, named = _without_prefixes(tensors)
            yield State(wrapper, prefix, named, lambda named=named: _load(path, file, named))  # type: ignore[misc]


def _mappings(at: str, content: Any, *, depth: int = 2) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield the content and what lies under the wrappers' keys, where they are mappings; wrappers may be nested."""
    entries = content.entries if isinstance(content, Foreign) else content
    if not isinstance(entries, dict):
        return
    yield at, entries
    for wrapper in WRAPPERS if depth else ():
        yield from _mappings(f"{at}.{wrapper}".lstrip("."), entries.get(wrapper), depth=depth - 1)


def _load(path: Path, file: TorchFile, tensors: Mapping[str, StoredTensor]) -> dict[str, Tensor]:
    try:
        return file.load(tensors)
    except (MalformedPickle, OSError, RuntimeError) as error:
        raise _unreadable(path, error) from error


def _without_prefixes(tensors: dict[str, T]) -> tuple[str, dict[str, T]]:
    """Return (what wrappers put in front of every name, the tensors without it)."""
    cut = ""
    while True:
        named = [name for name in tensors if name not in COUNTERS]
        prefix = next((p for p in WRAPPER_PREFIXES if named and all(name.startswith(p) for name in named)), None)
        if prefix is None:
            return cut, tensors
        cut += prefix
        tensors = {name[len(prefix) :]: tensors[name] for name in named}


def _check_names(path: Path, tensors: Mapping[Any, Any]) -> None:
    for name in tensors:
        if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable():
            raise CheckpointError(
                f"{path} holds a tensor called {readable(repr(name))}; it is no checkpoint of a network."
            )


def _is_torchs(name: str) -> bool:
    storage = name.rpartition(".")[2].removesuffix("Storage")
    return name in KNOWN_NAMES or storage in STORAGES or name in ("torch.Size", "collections.OrderedDict")


def _refuse_powerful(path: Path, name: str) -> None:
    """Raise CheckpointError where a file names what it must not."""
    module, leaf = name.split(".")[0], name.rpartition(".")[2]
    if name.startswith(("torch.nn.modules", "torch.jit", "torch.fx", "torch.package")):
        raise _pickled_network(path)
    if module in STANDARD_MODULES:
        old_module, _, leaf = name.rpartition(".")
        modern = f"{_compat_pickle.IMPORT_MAPPING.get(old_module, old_module)}.{leaf}"
        if modern.split(".")[0] not in HARMLESS_MODULES and modern not in HARMLESS_NAMES:
            raise _unsafe(path, name)
    elif module == "torch" and not leaf[:1].isupper() and name not in KNOWN_NAMES and leaf not in _TORCH_CONSTANTS:
        raise _unsafe(path, name)


_TORCH_CONSTANTS = {"strided", "contiguous_format", "channels_last", "preserve_format", "defaultdict"}


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path} is no checkpoint that can be read: {readable(str(error))}. It may be truncated, or another kind of "
        "file; .pth and .pth.tar files of a network's authors are possible."
    )


def _pickled_network(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is a pickled network, which only its own code can open. Open it there and save its state_dict()."
    )


def _unsafe(path: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is unsafe: opening it would call {name!r}. It was not opened. Weights need nothing of the kind; get "
        "the file from its authors again."
    )


# --- .safetensors ---


def _is_safetensors(path: Path) -> bool:
    """Return whether the file begins as those do: 8 bytes that count a JSON object's bytes, then the object."""
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" or path.suffix.lower() == ".safetensors"


def _open_safetensors(path: Path) -> Opened:
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: _described(file.get_slice(name)) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({readable(str(error))}).") from error
    _check_names(path, tensors)
    prefix, named = _without_prefixes(tensors)
    state = State("", prefix, named, lambda: _load_safetensors(path, prefix, named))
    return Opened("safetensors", tuple(tensors), (state,) if tensors else (), metadata=metadata)


def _described(piece: Any) -> SafeTensor:
    return SafeTensor(_SAFE_DTYPES.get(piece.get_dtype(), piece.get_dtype()), torch.Size(piece.get_shape()))


_SAFE_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def _load_safetensors(path: Path, prefix: str, tensors: Mapping[str, SafeTensor]) -> dict[str, Tensor]:
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(prefix + name) for name in tensors}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors ({readable(str(error))}).") from error
