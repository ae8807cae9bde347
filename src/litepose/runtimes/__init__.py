"""How arrays pass through an engine. One file an engine; see `runtimes.base`."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

from litepose.errors import ModelError, SettingError, nearest_name
from litepose.runtimes.base import Runtime

__all__ = ["Runtime", "open_runtime", "runtime_classes"]


def open_runtime(
    path: str | Path, *, device: str = "cpu", threads: int | None = None, runtime: str | None = None
) -> Runtime:
    """Open a model file with the engine that its suffix, or the name `runtime`, asks for.

    threads: of the engine; None = one for each physical core that this process may use.
    Raises ModelError or SpecError for a file that is no model, SettingError for an unknown engine or device,
    MissingPackageError where the engine is not installed.
    """
    path = Path(path)
    classes = runtime_classes()
    if runtime is not None and runtime not in classes:
        raise SettingError(f"No runtime {runtime!r}. {nearest_name(runtime, classes)}")
    by_suffix = {suffix: name for name, one in classes.items() for suffix in one.suffixes}
    name = runtime or by_suffix.get(path.suffix.lower())
    if not path.is_file():
        raise ModelError(
            f"There is no model file {path}{' (it is a folder)' if path.is_dir() else ''}. Check the path."
        )
    if name is None or path.suffix.lower() not in classes[name].suffixes:
        possible = ", ".join(f"{suffix} ({owner})" for suffix, owner in sorted(by_suffix.items()))
        raise ModelError(
            f"{path} cannot be opened{f' with the runtime {runtime!r}' if runtime else ''}: its suffix is "
            f"{path.suffix or 'missing'!r}. Possible: {possible}. Export the model, or rename the file."
        )
    return classes[name](path, device=device, threads=threads)


def runtime_classes() -> dict[str, type[Runtime]]:
    """Return every runtime by its file's name; the files import no engine until one is constructed."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name != "base")
    return {name: importlib.import_module(f"{__name__}.{name}").RUNTIME for name in names}
