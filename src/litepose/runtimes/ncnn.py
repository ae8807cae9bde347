"""ncnn: small and without dependencies, for phones and boards with ARM processors."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from litepose.errors import MissingPackageError, ModelError, SettingError, SpecError
from litepose.runtimes.base import check_input, check_outputs, checked_threads
from litepose.sidecars import read_sidecar
from litepose.spec import PoseSpec


class NcnnRuntime:
    """A .param file with its weights (.bin) and its pose spec (.param.json) beside it, ready to compute.

    precision: "f32", or "f16" where the processor computes or at least stores in half precision, as ARM's do.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".param",)
    also_opens: ClassVar[tuple[str, ...]] = ()
    precisions: ClassVar[tuple[str, ...]] = ("f32", "f16")
    package: ClassVar[str] = "ncnn"
    requires: ClassVar[str] = "litepose[ncnn]"

    def __init__(
        self, path: str | Path, *, device: str = "cpu", threads: int | None = None, precision: str = "f32"
    ) -> None:
        try:
            ncnn = _imported()
        except ImportError as error:
            raise MissingPackageError(
                f"{path} is an ncnn file, which needs ncnn. Install it: pip install '{self.requires}'"
            ) from error
        if device != "cpu":
            raise SettingError(f"ncnn cannot compute on the device {device!r}; possible here: cpu.")
        self.path, self.threads = Path(path), checked_threads(threads)
        if not self.path.read_bytes().startswith(MAGIC):
            raise ModelError(f"{path} is no model that ncnn can open: it does not begin with {MAGIC.decode()}.")
        self.spec = read_sidecar(self.path)
        width, height = self.spec.input.size
        self.size: tuple[int, int] | None = (width, height)
        self._ncnn = ncnn
        self._net = _loaded(ncnn, self.path, self.threads, half=precision == "f16")
        _check_graph(self._net, self.spec, self.path)

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """See Runtime. A larger batch is computed one by one."""
        check_input(batch, self.size, self.path)
        parts = [self._run(np.ascontiguousarray(picture)) for picture in batch]
        outputs = tuple(np.stack(maps) for maps in zip(*parts, strict=True))
        check_outputs(outputs, batch, self.spec, self.path)
        return outputs

    def _run(self, picture: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the maps, (C, h, w) each, of a (3, H, W) picture."""
        with self._net.create_extractor() as extractor:
            extractor.input("image", self._ncnn.Mat(picture))  # does not own the picture, which outlives it
            return tuple(np.array(extractor.extract(output.name)[1]) for output in self.spec.outputs)


RUNTIME = NcnnRuntime
MAGIC = b"7767517"
WAITING = "OMP_WAIT_POLICY"


def _imported() -> Any:
    """Return the engine, whose threads sleep while they wait for each other.

    They would spin: on two cores with other work, two threads took 1 to 7 s for a picture that takes one 17 ms. OpenMP
    reads how to wait when it is loaded, and never again.
    """
    before = os.environ.get(WAITING)
    os.environ.setdefault(WAITING, "passive")
    try:
        return importlib.import_module("ncnn")
    finally:
        if before is None:
            del os.environ[WAITING]


def _loaded(ncnn: Any, path: Path, threads: int, *, half: bool) -> Any:
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, half)
    net.opt.use_bf16_storage = False
    codes = [net.load_param(str(path)), net.load_model(str(path.with_suffix(".bin")))]
    if any(codes):
        raise ModelError(f"{path} is no model that ncnn {ncnn.__version__} can open. Export it again.")
    return net


def _check_graph(net: Any, spec: PoseSpec, path: Path) -> None:
    """Raise SpecError where graph and spec do not belong together; ncnn itself would end the process."""
    inputs, outputs = list(net.input_names()), list(net.output_names())
    if inputs != ["image"] or not {one.name for one in spec.outputs} <= set(outputs):
        raise SpecError(
            f"{path} does not compute what its pose spec says: the spec promises the input 'image' and the outputs "
            f"{[one.name for one in spec.outputs]}; the graph has {inputs} and {outputs}. Export the model again."
        )
