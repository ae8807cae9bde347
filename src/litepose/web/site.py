"""The page as a folder that any static host can serve: its files, the engine, models, and a list of them.

models.json says what the page must know of each model: its file with SHA-256, its pose spec, and of a top-down model
which other one finds the people for it.
"""

from __future__ import annotations

import contextlib
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
    """Write the page with those of the models that it can run; return their names, bottom-up ones first.

    models: by name. A model is rewritten for browsers where the package onnx is installed.
    Raises MissingPackageError without the engine, SettingError where the page can run none of the models.
    """
    check_engine()
    folder = Path(folder)
    finders = [name for name, one in models.items() if finds_people(one)]
    if not finders:
        raise SettingError(
            f"The page needs a bottom-up model with associative embedding in an .onnx file of free input size, which "
            f"also finds the people for top-down ones; {', '.join(models) or 'nothing'} is not such a one. Give one "
            "more, as litepose_xs."
        )
    usable = [*finders, *(name for name, one in models.items() if reads_crops(one))]
    (folder / "models").mkdir(parents=True, exist_ok=True)
    for path in STATIC.iterdir():
        if path.is_file():
            shutil.copy(path, folder / path.name)
    (folder / "ort").mkdir(exist_ok=True)
    webgpu = not missing(WEBGPU_FILES)
    for name in ("LICENSE", *FILES, *(WEBGPU_FILES if webgpu else ())):
        shutil.copy(FOLDER / name, folder / "ort" / name)
    listed = [
        _write_model(folder / "models", name, models[name], None if name in finders else finders[0]) for name in usable
    ]
    content: dict[str, Any] = {"engines": ["wasm", "webgpu"] if webgpu else ["wasm"], "short_side": SHORT_SIDE}
    (folder / "models.json").write_text(json.dumps({**content, "models": listed}), encoding="utf-8")
    _write_worker_list(folder, listed[0]["file"])
    return usable


def finds_people(model: Offered) -> bool:
    """Return whether the page can find people in whole pictures with a model: by plain associative embedding alone."""
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


def reads_crops(model: Offered) -> bool:
    """Return whether the page can cut and read the crops of a top-down model: those with HRNet's crops and maps."""
    spec, codec = model.spec, model.spec.codec
    return (
        model.path.suffix.lower() == ".onnx"
        and codec.name == "heatmap"
        and spec.input.resize == "box"
        and model.size in (None, spec.input.size)
        and getattr(codec, "refinement", None) in ("quarter", "none")
        and getattr(codec, "nms", None) in ("hard", "none")
        and not spec.input.pixels
    )


def _write_model(folder: Path, name: str, model: Offered, boxes_of: str | None) -> dict[str, Any]:
    """Write a model's file; return what the page must know of it. boxes_of: whose people a top-down one looks at."""
    from litepose.export_browser import MULTIPLE, write_browser_model

    target = folder / f"{name}.onnx"
    shutil.copy(model.path, target)
    if boxes_of is None:
        with contextlib.suppress(MissingPackageError):
            write_browser_model(model.path, target)
    data = target.read_bytes()
    described = json.loads(model.spec.to_json())
    kept = {key: described[key] for key in ("model", "skeleton", "codec", "input", "outputs")}
    return {
        "name": name,
        "file": f"models/{target.name}",
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "height_multiple": MULTIPLE,
        "boxes_of": boxes_of,
        "spec": kept,
    }


def _write_worker_list(folder: Path, first: str) -> None:
    """Tell the page's service worker what to keep, and by a hash of all when it has changed.

    first: file of the model that the page begins with. Others, and the engine for graphics cards, are kept once used.
    """
    worker = folder / "service-worker.js"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != worker and path.name != "LICENSE")
    total = hashlib.sha256()
    for path in files:
        total.update(path.read_bytes())
    names = [path.relative_to(folder).as_posix() for path in files]
    later = {
        *(one for one in names if one.startswith("models/") and one != first),
        *(f"ort/{one}" for one in WEBGPU_FILES),
    }
    text = (STATIC / worker.name).read_text(encoding="utf-8")
    for mark, value in (
        ('"VERSION"', total.hexdigest()[:16]),
        ('["FILES"]', [one for one in names if one not in later]),
        ('["LATER"]', [one for one in names if one in later]),
    ):
        text = text.replace(mark, json.dumps(value))
    worker.write_text(text, encoding="utf-8")
