"""A self-test of an installation: packages, engines, a forward pass, a prediction, a training step, an export.

Each check does the real thing, small: what it says works here, works. A package that an extra would bring and that is
not installed is missing, which is no failure.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import LiteposeError, MissingPackageError
from litepose.runtimes import Runtime, is_installed, open_runtime, runtime_classes
from litepose.runtimes.base import physical_cores
from litepose.weights import DEFAULT, names, path_of

OK, MISSING, FAILED = "ok", "missing", "failed"
CORE = ("numpy", "onnxruntime", "typer", "rich", "pydantic")
OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless")
EXTRAS = {
    "eval": ("hotcoco", "scipy", "matplotlib", "jinja2"),
    "train": ("torch", "safetensors", "tensorboard"),
    "export": ("torch", "safetensors", "onnx"),
    "openvino": ("openvino",),
    "ncnn": ("ncnn",),
    "litert": ("ai-edge-litert",),
}
SCENE = "synthetic:people=1-1,seed=3,length=1,size=320x320"
TINY = ("model.size=[64, 64]", "run.batch=2", "run.epoch_samples=2", "run.epochs=1", "run.workers=0",
        "run.evaluate_epochs=0", "run.log_steps=1", "data.validation.limit=1")  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One thing tried. state: "ok", "missing" (an optional package) or "failed". note: what was found, or to do."""

    name: str
    state: str
    note: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def checkup() -> Iterator[Check]:
    """Try everything, and yield what came of each as it is done."""
    yield _tried("machine", _machine)
    yield _tried("packages", _packages)
    for extra, packages in EXTRAS.items():
        yield _tried(f"extra {extra}", lambda extra=extra, packages=packages: _extra(extra, packages))  # type: ignore[misc]
    for name in runtime_classes():
        yield _tried(f"engine {name}", lambda name=name: _engine(name))  # type: ignore[misc]
    yield _tried("prediction", _prediction)
    with tempfile.TemporaryDirectory() as folder:
        yield _tried("training step", lambda: _training_step(Path(folder)))
        yield _tried("export", lambda: _export(Path(folder)))


def _tried(name: str, work: Callable[[], str]) -> Check:
    start = time.perf_counter()
    try:
        state, note = OK, work()
    except MissingPackageError as error:
        state, note = MISSING, str(error)
    except ModuleNotFoundError as error:
        state, note = MISSING, f"{error.name} not installed: pip install 'litepose[train]'"
    except Exception as error:  # a broken installation breaks in any way, and the other checks are wanted too
        state, note = FAILED, str(error) if isinstance(error, LiteposeError) else f"{type(error).__name__}: {error}"
    return Check(name, state, note, time.perf_counter() - start)


def _machine() -> str:
    cores = f"{physical_cores()} of {os.cpu_count()} cores"
    return f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {cores}"


def _packages() -> str:
    """Name the versions. Raises MissingPackageError."""
    opencv = next((name for name in OPENCV if _version(name)), None)
    lacking = [name for name in CORE if not _version(name)]
    if lacking:
        raise MissingPackageError(f"{', '.join(lacking)} not installed. Install litepose again: pip install litepose.")
    import cv2

    known = [f"{name} {_version(name)}" for name in ("litepose", *CORE)]
    return ", ".join([*known, f"{opencv or 'OpenCV'} {cv2.__version__}"])


def _extra(extra: str, packages: Sequence[str]) -> str:
    lacking = [name for name in packages if not _version(name)]
    if lacking:
        raise MissingPackageError(f"{', '.join(lacking)} not installed: pip install 'litepose[{extra}]'")
    return ", ".join(f"{name} {_version(name)}" for name in packages)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _engine(name: str) -> str:
    """Compute a forward pass. Raises MissingPackageError where the engine is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        runtime = _small_model(name, Path(folder))
        size = runtime.size or (64, 64)
        batch = np.zeros((1, 3, size[1], size[0]), dtype=np.float32)
        runtime(batch)
        start = time.perf_counter()
        outputs = runtime(batch)
        took = 1000 * (time.perf_counter() - start)
    if not all(np.isfinite(output).all() for output in outputs):
        raise LiteposeError(f"The engine {name} computed numbers that are none. Install another version of it.")
    return f"{runtime.spec.model} at {size[0]}x{size[1]}: {took:.1f} ms with {runtime.threads} threads"


def _small_model(name: str, folder: Path) -> Runtime:
    """Return a model that the engine opens: one that ships, a fresh checkpoint, or an export of that."""
    one = runtime_classes()[name]
    if not is_installed(name):
        raise MissingPackageError(f"{one.package} not installed: pip install '{one.requires}'")
    suffixes = (*one.suffixes, *one.also_opens)
    shipped = next((path_of(model) for model in names() if path_of(model).suffix in suffixes), None)
    if shipped is not None:
        return open_runtime(shipped, runtime=name)
    checkpoint = _fresh_checkpoint(folder)
    if checkpoint.suffix not in suffixes:
        from litepose.checkpoints import load_network
        from litepose.export import export_model

        checkpoint = export_model(*load_network(checkpoint), folder / f"fresh{suffixes[0]}").path
    return open_runtime(checkpoint, runtime=name)


def _fresh_checkpoint(folder: Path) -> Path:
    from litepose import checkpoints
    from litepose.skeleton import COCO17

    spec = checkpoints.default_spec("litepose_xs", COCO17, size=(64, 64))
    return checkpoints.save(folder / "fresh.safetensors", checkpoints.build_network(spec).state_dict(), spec)


def _prediction() -> str:
    from litepose.datasets import open_dataset
    from litepose.predictor import load

    sample = open_dataset(SCENE)[0]
    predictor = load(DEFAULT)
    start = time.perf_counter()
    people = predictor(sample.image)
    took = 1000 * (time.perf_counter() - start)
    if not len(people):
        raise LiteposeError(f"{DEFAULT} found nobody in a drawn picture of one person. Install litepose again.")
    count = int(people.found[0].sum())
    return f"{DEFAULT} found {count} keypoints of the person of a drawn picture in {took:.0f} ms"


def _training_step(folder: Path) -> str:
    """Train for one step, in `folder`. Raises MissingPackageError without PyTorch."""
    from litepose.training.recipe import load_recipe

    recipe = load_recipe("litepose_xs_synthetic", TINY)
    from rich.console import Console

    from litepose.training.loop import train

    result = train(recipe, folder / "run", console=Console(quiet=True))
    return f"step {result.step} done, weights written ({result.last.stat().st_size / 1e6:.1f} MB)"


def _export(folder: Path) -> str:
    """Export what the training step wrote. Raises MissingPackageError without PyTorch."""
    from litepose.checkpoints import load_network
    from litepose.export import export_onnx

    checkpoint = folder / "run" / "last.safetensors"
    network, spec = load_network(checkpoint if checkpoint.is_file() else _fresh_checkpoint(folder))
    report = export_onnx(network, spec, folder / "doctor.onnx")
    return f"ONNX file equal to the checkpoint within {report.max_error / report.largest:.1e} of the largest output"
