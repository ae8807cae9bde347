"""Checkpoints of other projects, opened without running anything in them.

Such files are pickles. They are read with torch's restricted unpickler (weights_only); foreign classes among their
metadata (configurations, numpy numbers, optimizer state) are replaced by inert placeholders that ignore what they
are given, so the tensors survive and no foreign code runs. Names with a power of their own are refused outright.
"""

from __future__ import annotations

import _compat_pickle
import re
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from litepose.errors import CheckpointError

SOURCES = ("official", "mmpose")
SUFFIXES = (".pth", ".pt", ".tar", ".bin", ".ckpt")
WRAPPERS = ("state_dict", "best_state_dict", "model", "model_state_dict", "ema")
WRAPPER_PREFIXES = ("module.", "1.")  # DataParallel; the half-precision wrapper of HigherHRNet and LitePose
MMPOSE_PREFIXES = ("backbone.", "keypoint_head.", "head.")
MMPOSE_EXTRAS = ("data_preprocessor.",)

# Of the standard library only plain holders of data may be replaced by a placeholder; a file that names anything
# else of it (subprocess, shutil, importlib, ...) was made to run something.
HARMLESS_MODULES = {"argparse", "collections", "datetime", "decimal", "enum", "fractions", "pathlib", "types", "uuid"}
STANDARD_MODULES = {  # with the names they had in Python 2, which pickles of protocol 2 use
    *sys.stdlib_module_names,
    *_compat_pickle.IMPORT_MAPPING,
    *_compat_pickle.REVERSE_IMPORT_MAPPING.values(),
}
MAX_PLACEHOLDERS = 200

_REFUSED_GLOBAL = re.compile(r"Unsupported global: GLOBAL (\S+) was not")
_SOURCE_CODE = "Only persistent_load of storage is allowed"  # legacy files of networks carry their source
_BLOCKED_GLOBAL = re.compile(r"unsupported GLOBAL (\S+) whose module")
_NOT_A_CONTAINER = re.compile(r"Can only (SETITEM|append|extend)\S*.* but got <class '([^']+)'>")


def read_states(path: str | Path) -> list[dict[str, Tensor]]:
    """Return every mapping of names to tensors in a .pth or .pth.tar file (zip or legacy format), on the CPU.

    A training checkpoint may hold several (state_dict, best_state_dict). Wrappers' prefixes are cut off.
    Raises CheckpointError.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"No checkpoint {path}. Give the path of a .pth or .pth.tar file.")
    content = _open(path)
    states = [_without_prefixes(state) for state in _tensor_mappings(content)]
    if not states:
        found = sorted(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise CheckpointError(
            f"{path} holds no mapping of names to tensors (found {found}); possible are a state dict, or one under "
            f"{', '.join(WRAPPERS)}. A pickled network must be saved again as its state_dict()."
        )
    return states


def rename(state: Mapping[str, Tensor], official_keys: Sequence[tuple[str, str]], *, source: str) -> dict[str, Tensor]:
    """Return the state under our names. A name that no rule knows stays, so that the difference shows it.

    official_keys: (pattern of a whole name, replacement) pairs of the network's family.
    """
    renamed = {}
    for name, tensor in state.items():
        if source == "mmpose":
            if name.startswith(MMPOSE_EXTRAS):
                continue
            name = re.sub(f"^({'|'.join(map(re.escape, MMPOSE_PREFIXES))})", "", name)
        renamed[_our_name(name, official_keys)] = tensor
    return renamed


def _our_name(name: str, official_keys: Sequence[tuple[str, str]]) -> str:
    for pattern, replacement in official_keys:
        match = re.fullmatch(pattern, name)
        if match:
            return match.expand(replacement)
    return name


def _tensor_mappings(content: Any) -> Iterator[dict[str, Tensor]]:
    if not isinstance(content, Mapping):
        return
    for candidate in (content, *(content.get(wrapper) for wrapper in WRAPPERS)):
        if isinstance(candidate, Mapping):
            tensors = {name: v for name, v in candidate.items() if isinstance(name, str) and isinstance(v, Tensor)}
            if tensors:
                yield tensors


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while True:
        prefix = next((p for p in WRAPPER_PREFIXES if all(name.startswith(p) for name in state)), None)
        if prefix is None:
            return state
        state = {name[len(prefix) :]: tensor for name, tensor in state.items()}


def _open(path: Path) -> Any:
    """Unpickle with weights_only; add a placeholder for each foreign name that is refused, and try again."""
    placeholders: dict[str, type] = {}
    for _ in range(MAX_PLACEHOLDERS):
        try:
            with torch.serialization.safe_globals(list(placeholders.values())), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's advice about pickle protocols
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # untrusted bytes break the unpickler in any way
            name, kind = _wanted_placeholder(path, error)
            if name in placeholders and placeholders[name].kind is kind:  # type: ignore[attr-defined]
                raise CheckpointError(f"{path} cannot be read: {_first_line(error)}.") from error
            placeholders[name] = _placeholder(name, kind)
    raise CheckpointError(f"{path} names more than {MAX_PLACEHOLDERS} foreign classes; it is no checkpoint.")


def _wanted_placeholder(path: Path, error: Exception) -> tuple[str, type]:
    """Say which name must become a placeholder, and what it must build. Raises CheckpointError where none may."""
    text = str(error)
    if _SOURCE_CODE in text:
        raise _pickled_network(path) from error
    blocked = _BLOCKED_GLOBAL.search(text)
    if blocked:
        raise _unsafe(path, blocked[1]) from error
    refused = _REFUSED_GLOBAL.search(text)
    if refused:
        name = refused[1] if "." in refused[1] else f"builtins.{refused[1]}"
        _refuse_powerful(path, name, error)
        return name, OrderedDict if name == "builtins.dict" else object
    container = _NOT_A_CONTAINER.search(text)
    if container:
        return container[2], OrderedDict if container[1] == "SETITEM" else list
    raise CheckpointError(
        f"{path} is no checkpoint that torch can read: {_first_line(error)}. It may be truncated, or another kind of "
        "file; .pth and .pth.tar files of a network's authors are possible."
    ) from error


def _refuse_powerful(path: Path, name: str, error: Exception) -> None:
    module = name.split(".")[0]
    if name.startswith("torch.nn.modules"):
        raise _pickled_network(path) from error
    if module in STANDARD_MODULES and module not in HARMLESS_MODULES and name != "builtins.dict":
        raise _unsafe(path, name) from error


def _pickled_network(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path} is a pickled network, which only its own code can open. Open it there and save its state_dict()."
    )


def _unsafe(path: Path, name: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is unsafe: opening it would call {name!r}. It was not opened. Weights need nothing of the kind; get "
        "the file from its authors again."
    )


def _placeholder(name: str, kind: type) -> type:
    """Return a class under a foreign name that ignores its arguments and state.

    kind: object, or the container it must be because the pickle fills it: OrderedDict, list.
    """
    module, _, leaf = name.rpartition(".")

    def new(cls: type, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls) if kind is object else kind()

    def ignore(self: Any, *args: Any, **kwargs: Any) -> None:
        return None

    body = {"__new__": new, "__init__": ignore, "__setstate__": ignore, "kind": kind}
    return type(leaf, (), {**body, "__module__": module, "__qualname__": leaf})


def _first_line(error: Exception) -> str:
    """Return torch's own reason without its paragraphs of advice."""
    lines = str(error).split("WeightsUnpickler error:")[-1].strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__
