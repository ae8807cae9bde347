"""The page as a folder that any static host can serve: its files, the engine, models, and a list of them.

models.json says what the page must know of each model: its file with SHA-256, and its pose spec.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litepose.errors import MissingPackageError, SettingError
from litepose.web.engine_files import FILES, FOLDER, WEBGPU_FILES, check_engine, missing

if TYPE_CHECKING:
    from litepose.spec import PoseSpec

STATIC = Path(__file__).parent / "static"
SHORT_SIDE = 160  # of the page's input at first, px; benchmarks/browser.py says what it buys


@dataclass(frozen=True)
class Offered:
    """A model for the page. size: (w, h) of the only input that its file takes, None = any."""

    path: Path
    spec: PoseSpec
    size: tuple[int, int] | None = None


def write_site(folder: str | Path, models: Mapping[str, Offered]) -> list[str]:
    """Write the page with those of the models that it can run; return their names.

    models: by name. A model is rewritten for browsers where the package onnx is installed.
    Raises MissingPackageError without the engine, SettingError where the page can run none of the models.
    """
    check_engine()
    folder = Path(folder)
    usable = {name: one for name, one in models.items() if runs_in_page(one)}
    if not usable:
        raise SettingError(
            f"The page runs bottom-up models with associative embedding in .onnx files of free input size; "
            f"{', '.join(models) or 'nothing'} is not such a one. Give one more, as litepose_xs."
        )
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for path in STATIC.iterdir():
        if path.is_file():
            shutil.copy(path, folder / path.name)
    (folder / "ort").mkdir(exist_ok=True)
    webgpu = not missing(WEBGPU_FILES)
    for name in ("LICENSE", *FILES, *(WEBGPU_FILES if webgpu else ())):
        shutil.copy(FOLDER / name, folder / "ort" / name)
    listed = [_write_model(folder / "models", name, one) for name, one in usable.items()]
    content: dict[str, Any] = {"engines": ["wasm", "webgpu"] if webgpu else ["wasm"], "short_side": SHORT_SIDE}
    (folder / "models.json").write_text(json.dumps({**content, "models": listed}), encoding="utf-8")
    _write_worker_list(folder)
    return list(usable)


def runs_in_page(model: Offered) -> bool:
    """Return whether the page prepares and decodes for such a model: it knows plain associative embedding alone."""
    spec, codec = model.spec, model.spec.codec
    settings = [getattr(codec, name, None) for name in ("grouping", "center_keypoint", "use_detection_val", "adjust")]
    return (
        model.path.suffix.lower() == ".onnx"
        and model.size is None
        and codec.name == "ae"
        and settings == ["people", False, True, True]
        and not spec.input.pixels
        and all(output.stride > 0 for output in spec.outputs)
    )


def _write_model(folder: Path, name: str, model: Offered) -> dict[str, Any]:
    from litepose.export_browser import MULTIPLE, write_browser_model

    target = folder / f"{name}.onnx"
    try:
        write_browser_model(model.path, target)
    except MissingPackageError:
        shutil.copy(model.path, target)
    data = target.read_bytes()
    described = json.loads(model.spec.to_json())
    kept = {key: described[key] for key in ("model", "skeleton", "codec", "input", "outputs")}
    return {
        "name": name,
        "file": f"models/{target.name}",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "height_multiple": MULTIPLE,
        "spec": kept,
    }


def _write_worker_list(folder: Path) -> None:
    """Tell the page's service worker what to keep, and by a hash of all when it has changed."""
    worker = folder / "service-worker.js"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != worker and path.name != "LICENSE")
    total = hashlib.sha256()
    for path in files:
        total.update(path.read_bytes())
    names = json.dumps([path.relative_to(folder).as_posix() for path in files])
    text = (STATIC / worker.name).read_text(encoding="utf-8")
    text = text.replace('"VERSION"', json.dumps(total.hexdigest()[:16])).replace('["FILES"]', names)
    worker.write_text(text, encoding="utf-8")
