"""Networks by name. `litepose_xs` lives in `models/litepose.py`: the longest underscore prefix that is a file.

A family file holds `NETWORK` (a `layers.PoseNetwork` with plain keyword arguments), `VARIANTS` (name -> keyword
arguments), `DEFAULT` (a `layers.FamilyDefault`), `OFFICIAL_KEYS`, and `PUBLISHED` if the authors printed figures:
variant -> number of keypoints -> {"macs", "data", "AP", ...}, with {"sizes": {(w, h): ...}} for those that differ by
input size. "macs" is a plain count: what was printed times the authors' unit, which `counting.RULES` knows.
There is no table to add it to.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from litepose.errors import MissingPackageError, ModelError, SettingError, nearest_name

try:
    import torch

    from litepose.models.layers import NothingDrawn, PoseNetwork
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise MissingPackageError(
        "Networks need torch, which is not installed; exported files (.onnx) run without it. "
        'Install it with: pip install "litepose[train]"'
    ) from error

SHARED = {"layers", "light_trunks", "segmentation"}  # files that are no family


def families() -> list[str]:
    """Return the names of all family files, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name not in SHARED)


def modules() -> list[ModuleType]:
    """Return all family files, by name."""
    return [_import(family) for family in families()]


def names() -> list[str]:
    """Return every name that `build` knows, sorted."""
    return sorted(name for family in families() for name in _import(family).VARIANTS)


def family_of(name: str) -> ModuleType:
    """Return the family file of a network name. Raises ModelError."""
    parts = name.split("_")
    known = families()
    for count in range(len(parts), 0, -1):
        prefix = "_".join(parts[:count])
        if prefix in known:
            family = _import(prefix)
            if name in family.VARIANTS:
                return family
            break
    raise ModelError(f"No network {name!r}. {nearest_name(name, names())}")


def build(name: str, *, num_keypoints: int, **settings: Any) -> PoseNetwork:
    """Return the named network with fresh weights, in train mode.

    settings: keyword arguments of the family's network class; they win over the variant's own.
    Raises ModelError, SettingError.
    """
    family = family_of(name)
    if not isinstance(num_keypoints, int) or num_keypoints < 1:
        raise SettingError(f"{name} needs at least one keypoint; found num_keypoints={num_keypoints!r}.")
    known = set(inspect.signature(family.NETWORK).parameters)
    for setting in settings:
        if setting not in known:
            raise SettingError(f"{name} has no setting {setting!r}. {nearest_name(setting, known)}")
    return family.NETWORK(**{**family.VARIANTS[name], **settings, "num_keypoints": num_keypoints})


def build_shell(name: str, *, num_keypoints: int, **settings: Any) -> PoseNetwork:
    """Return the named network with shapes only: no memory, no random numbers. Raises ModelError, SettingError."""
    with torch.device("meta"), NothingDrawn():
        return build(name, num_keypoints=num_keypoints, **settings)


def read_arch(path: str | Path) -> dict[str, Any]:
    """Return the JSON object of an architecture file; `build` checks what it says. Raises ModelError."""
    path = Path(path)
    try:
        arch = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"No architecture file {path} ({error.strerror}). Give the path of a JSON file.") from error
    except ValueError as error:
        raise ModelError(f"Architecture file {path} is no JSON: {error}.") from error
    if not isinstance(arch, dict):
        raise ModelError(f"Architecture file {path} must hold one JSON object; found a {type(arch).__name__}.")
    return arch


def _import(family: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{family}")
