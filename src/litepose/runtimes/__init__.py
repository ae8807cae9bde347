"""How arrays pass through an engine. One file an engine; see `runtimes.base`."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from pathlib import Path
from typing import Any

from litepose.errors import ModelError, SettingError, nearest_name
from litepose.runtimes.base import FileRuntime, Runtime

__all__ = ["FileRuntime", "Runtime", "is_installed", "open_runtime", "runtime_classes"]


def open_runtime(
    path: str | Path, *, device: str = "cpu", threads: int | None = None, runtime: str | None = None
) -> FileRuntime:
    """Open a model file with the engine that its suffix, or the name `runtime`, asks for.

    threads: of the engine; None = one for each physical core that this process may use.
    runtime: an engine's name, with the precision behind a colon where it is not to be the engine's first:
        "openvino:bf16".
    Raises ModelError or SpecError for a file that is no model, SettingError for an unknown engine, precision or device,
    MissingPackageError where the engine is not installed.
    """
    path = Path(path)
    classes: dict[str, Any] = dict(runtime_classes())
    asked, _, precision = (runtime or "").partition(":")
    if asked and asked not in classes:
        raise SettingError(f"No runtime {asked!r}. {_possible(asked)}")
    by_suffix = {suffix: name for name, one in classes.items() for suffix in one.suffixes}
    name = asked or by_suffix.get(path.suffix.lower())
    if not path.is_file():
        raise ModelError(
            f"There is no model file {path}{' (it is a folder)' if path.is_dir() else ''}. Check the path."
        )
    if name is None or path.suffix.lower() not in (*classes[name].suffixes, *classes[name].also_opens):
        possible = ", ".join(f"{suffix} ({owner})" for suffix, owner in sorted(by_suffix.items()))
        raise ModelError(
            f"{path} cannot be opened{f' with the runtime {asked!r}' if asked else ''}: its suffix is "
            f"{path.suffix or 'missing'!r}. Possible: {possible}. Export the model"
            f"{f' with --runtime {asked}' if asked else ''}, or rename the file."
        )
    return classes[name](path, device=device, threads=threads, **_precision(classes[name], name, precision))


def runtime_classes() -> dict[str, type[FileRuntime]]:
    """Return every runtime by its file's name; the files import no engine until one is constructed."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name != "base")
    return {name: importlib.import_module(f"{__name__}.{name}").RUNTIME for name in names}


def is_installed(name: str) -> bool:
    """Return whether the engine of a runtime can be imported here."""
    return importlib.util.find_spec(runtime_classes()[name].package) is not None


def _precision(one: Any, name: str, precision: str) -> dict[str, str]:
    if precision and precision not in one.precisions:
        raise SettingError(
            f"The runtime {name} does not compute in {precision!r}. {nearest_name(precision, one.precisions)}"
        )
    return {"precision": precision} if precision and len(one.precisions) > 1 else {}


def _possible(asked: str) -> str:
    """Say which engines are installed, how the others come, and which was probably meant."""
    classes = runtime_classes()
    absent = [f"{name} (pip install '{classes[name].requires}')" for name in classes if not is_installed(name)]
    here = ", ".join(name for name in classes if is_installed(name))
    rest = f" Not installed: {', '.join(absent)}." if absent else ""
    return f"Installed: {here}.{rest}{nearest_name(asked, classes).partition('.')[2]}"
