"""A network becomes a model file that runs without PyTorch, and is proved equal before the file is kept.

Every engine's file is made of an ONNX graph (`converters`), opened by that engine's runtime and compared with the
network on a photo and on drawn pictures. The graph comes from PyTorch's tracing exporter: on LitePose-XS it takes 0.7 s
where the newer torch.export path takes 8 s (28 s with free sizes), needs no onnxscript, writes one file, and both are
equally exact (5e-7 of the largest output) and fast; the networks have no control flow that a trace could lose. Batch
normalisation is folded first.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from litepose import images
from litepose.codecs.ae_peaks import HEAT
from litepose.converters import BROWSER, PHOTO, converter_of, engine_for, engines, suffix_of
from litepose.counting import count, rule_of
from litepose.errors import ExportError, MissingPackageError, SettingError
from litepose.export_browser import MULTIPLE, browser_form
from litepose.export_graph import BATCH, free_batch, freeze_shapes
from litepose.export_inside import inside_spec, peak_differences, with_inside
from litepose.export_norms import NORMS_KEY, norms_to_json
from litepose.export_rewrites import optimised_for_export
from litepose.export_storage import shrink_weights
from litepose.files import replacing_together, without_folders
from litepose.geometry import check_input_size
from litepose.models.layers import fuse_batchnorm
from litepose.predictor import normalise
from litepose.runtimes import FileRuntime, open_runtime
from litepose.runtimes.torch import compute
from litepose.spec import BOX_RULES, SPEC_KEY, InputSpec, PoseSpec

OPSETS = range(17, 21)
TOLERANCE = 1e-4  # of the largest output: float32 sums in another order, through some 100 layers
HALF_TOLERANCE = 5e-3  # the same for half-precision weights: each is off by up to 2^-11 = 5e-4, layers add up


@dataclass(frozen=True)
class ExportReport:
    """How the exported file compares with the network it came from, over all outputs of all checked inputs.

    max_error, mean_error: absolute, in units of the outputs. largest: the network's largest absolute output.
    allowed: the max_error up to which a file is kept. num_bytes: of the file and its weights.
    """

    path: Path
    max_error: float
    mean_error: float
    largest: float
    allowed: float
    num_bytes: int

    @property
    def passed(self) -> bool:
        return bool(self.max_error <= self.allowed)  # False for NaN


def export_model(
    network: nn.Module,
    spec: PoseSpec,
    path: str | Path,
    *,
    engine: str | None = None,
    size: tuple[int, int] | None = None,
    dynamic: bool = False,
    half_weights: bool = False,
    plain: bool = False,
    trainable: bool = False,
    pixels: bool = False,
    peaks: bool = False,
    opset: int = OPSETS[0],
    pictures: Sequence[str | Path] = (),
    on_checked: Callable[[ExportReport], None] | None = None,
) -> ExportReport:
    """Write `network` as an engine's model file with its spec: input "image", outputs named as in the spec.

    engine: of `converters.engines()`; None = the path's suffix's. Files for onnxruntime-web are `dynamic`.
    size: (w, h) that the file is made for; the spec's where it is None.
    dynamic: any batch, height and width; else `size` alone, in any batch where the input is a crop of one person each
        and in a batch of one where it is a whole picture.
    half_weights: weights lie in half precision (in .onnx files equal rows once), and are laid out when the file is
        opened: half the file, same speed.
    plain: the network's own layers, without the rewrites for the engine's sake.
    trainable: an .onnx file also holds what folding batch normalisation loses, so that `unfolding` makes a checkpoint
        of it: 8 bytes more for each channel of a normalisation.
    pixels: the file takes 8-bit pixels and normalises them itself.
    peaks: the file finds the peaks in its maps and gives those; see `codecs.ae_peaks` for what that excludes.
    pictures: files on which it is compared with the network, beside those that it always is.
    on_checked: is told the report before it is decided whether the file is kept.
    Raises ExportError where the file computes something else or the engine cannot express the network, SettingError,
    InputSizeError, PictureError, MissingPackageError.
    """
    path = Path(path)
    engine = engine_for(path, engine)
    size = size or spec.input.size
    _check_settings(spec, size, opset)
    _check_fits(engine, path, any_graph=dynamic or pixels or peaks, trainable=trainable, wrapped=pixels or peaks)
    if engine == BROWSER:
        spec, dynamic = _browser_spec(spec), True
    spec = inside_spec(_exported_spec(network, spec, size, engine, plain), pixels=pixels, peaks=peaks)
    inputs = [*_checked_inputs(spec, size, dynamic), *(picture_input(one, spec.input, size) for one in pictures)]
    with replacing_together(path) as temporary:
        rewritten = _rewritten(network, engine, None if dynamic else size, plain)
        model = _trace(with_inside(rewritten, spec), spec, size, dynamic, opset, temporary)
        converter = converter_of(engine)
        if converter is None:
            _save(model, spec, norms_to_json(network) if trainable else None, temporary, half_weights=half_weights)
        else:
            converter.write(model, spec, temporary, half_weights=half_weights)
        num_bytes = sum(one.stat().st_size for one in temporary.parent.iterdir())
        runtime = open_runtime(temporary, runtime="onnx" if converter is None else engine)
        report = compare(with_inside(network, spec), runtime, inputs, HALF_TOLERANCE if half_weights else TOLERANCE)
        report = dataclasses.replace(report, path=path, num_bytes=num_bytes)
        if on_checked is not None:
            on_checked(report)
        _refuse_wrong(report, spec, engine, half_weights)
    return report


def export_onnx(network: nn.Module, spec: PoseSpec, path: str | Path, **settings: Any) -> ExportReport:
    """Write an .onnx file for ONNX Runtime; see `export_model`."""
    return export_model(network, spec, path, engine="onnx", **settings)


def compare(network: nn.Module, runtime: FileRuntime, inputs: Sequence[np.ndarray], tolerance: float) -> ExportReport:
    """Return how a file's outputs differ from those of the network, which is put in eval mode.

    inputs: (B, 3, H, W) as the file takes them. tolerance: of the largest output.
    """
    network = network.eval()
    device = next(network.parameters()).device
    errors, largest = [], 0.0
    for batch in inputs:
        for expected, found in zip(compute(network, batch, device), runtime(batch), strict=True):
            if runtime.spec.outputs[0].stride:
                errors.append(np.abs(expected.astype(np.float64) - found).ravel())
                largest = max(largest, float(np.abs(expected).max()))
            else:
                errors.append(peak_differences(expected, found))
                largest = max(largest, float(np.abs(expected[..., HEAT]).max()))
    difference = np.concatenate(errors)
    num_bytes = runtime.path.stat().st_size
    return ExportReport(
        runtime.path, float(difference.max()), float(difference.mean()), largest, tolerance * largest, num_bytes
    )


def example_input(spec: InputSpec, size: tuple[int, int], *, seed: int = 0) -> np.ndarray:
    """Return a normalised (1, 3, H, W) float32 input with the statistics of a photo: smooth areas, edges, grain."""
    rng = np.random.default_rng(seed)
    width, height = size
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    for _ in range(12):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(4, width // 3)), int(rng.integers(4, height // 3)))
        colour = [int(value) for value in rng.integers(0, 256, 3)]
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)
    grain = rng.normal(0, 6, image.shape)
    return normalise(np.clip(image + grain, 0, 255).astype(np.uint8), spec)[None]


def picture_input(picture: str | Path, spec: InputSpec, size: tuple[int, int]) -> np.ndarray:
    """Return a picture file as an input, stretched: (1, 3, H, W) float32. Raises PictureError."""
    return normalise(cv2.resize(images.read(picture), size), spec)[None]


def weights_sha256(network: nn.Module) -> str:
    """Return the checksum of a network's tensors, names included, whatever file they lie in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _check_settings(spec: PoseSpec, size: tuple[int, int], opset: int) -> None:
    check_input_size(size, spec.input.stride, name=spec.model)
    if opset not in OPSETS:
        raise SettingError(f"No export to opset {opset}. Possible: {OPSETS[0]} to {OPSETS[-1]}.")


def _check_fits(engine: str, path: Path, *, any_graph: bool, trainable: bool, wrapped: bool) -> None:
    """Raise SettingError where an engine's files cannot hold what is asked, or would overwrite another's weights.

    any_graph: free sizes or more than the network. wrapped: more than the network.
    """
    if trainable and wrapped:
        raise SettingError("A file with pixels or peaks inside cannot be trained on. Export one without beside it.")
    converter = converter_of(engine)
    if engine == BROWSER and trainable:
        raise SettingError(f"A file for {BROWSER} cannot be trained on. Export one for ONNX Runtime beside it.")
    if converter is None:
        return
    if any_graph and not converter.ANY_GRAPH:
        raise SettingError(
            f"Files for {engine} are for one input size and the network alone; asked was any size, or pixels or peaks "
            "inside. Export one for each size, or an .onnx or .xml file."
        )
    if trainable:
        raise SettingError(
            f"Only .onnx files can be trained on; asked was one for {engine}. Export an .onnx beside it."
        )
    for suffix in converter.WEIGHTS:
        others = {suffix_of(one) for one in engines() if suffix in getattr(converter_of(one), "WEIGHTS", ())}
        owner = next((path.with_suffix(one) for one in others - {path.suffix} if path.with_suffix(one).exists()), None)
        if owner is not None:
            raise SettingError(
                f"Cannot write {path}: its weights would be {path.with_suffix(suffix).name}, which belongs to "
                f"{owner.name}. Choose another name, for instance {path.stem}_{engine}{path.suffix}."
            )


def _browser_spec(spec: PoseSpec) -> PoseSpec:
    """Return the spec with sides that the browser form takes. Raises SettingError for a model of crops."""
    if spec.input.resize in BOX_RULES:
        raise SettingError(
            f"{spec.model} looks at one box for each person; files for {BROWSER} are of models that look at the whole "
            "picture. Export it for ONNX Runtime: browsers run that, too."
        )
    stride = math.lcm(spec.input.stride, MULTIPLE)
    return dataclasses.replace(spec, input=dataclasses.replace(spec.input, stride=stride))


def _rewritten(network: nn.Module, engine: str, size: tuple[int, int] | None, plain: bool) -> nn.Module:
    """Return the network as the engine shall get it, on the CPU. size: of the only input; None = any."""
    if plain or engine in ("tensorrt", BROWSER):  # fuses and chooses kernels by itself; is rewritten as a graph
        return fuse_batchnorm(network).cpu()
    return optimised_for_export(network, size, engine).cpu()


def _refuse_wrong(report: ExportReport, spec: PoseSpec, engine: str, half_weights: bool) -> None:
    """Raise ExportError where the file computes something else."""
    if report.passed:
        return
    other = "another opset" if engine == "onnx" else "--plain, or another engine"
    raise ExportError(
        f"The export of {spec.model} to {report.path} is not kept: its outputs differ from the network's by up to "
        f"{report.max_error:.3g} (largest output {report.largest:.3g}); allowed are {report.allowed:.3g}. "
        + ("Export without half weights." if half_weights else f"Check the weights for NaN; try {other}.")
    )


def _exported_spec(network: nn.Module, spec: PoseSpec, size: tuple[int, int], engine: str, plain: bool) -> PoseSpec:
    counts = count(network, size, rule=rule_of(spec.model))
    cost = {
        "size": list(size),
        "params": counts.params,
        "macs": counts.macs,
        "macs_reference": counts.macs_reference,
    }
    sized = dataclasses.replace(spec, input=dataclasses.replace(spec.input, size=size))
    facts = {"cost": cost, "weights_sha256": weights_sha256(network), "export": {"engine": engine, "plain": plain}}
    if "recipe" in spec.provenance:  # older checkpoints say where the data lay on their machine
        facts["recipe"] = without_folders(spec.provenance["recipe"])
    return sized.with_provenance(**facts)


def _trace(
    network: nn.Module, spec: PoseSpec, size: tuple[int, int], dynamic: bool, opset: int, temporary: Path
) -> Any:
    """Return the traced network as an onnx.ModelProto. temporary: its folder takes the tracer's file meanwhile."""
    try:
        import onnx
    except ImportError as error:
        raise MissingPackageError("Export needs the package onnx. Install it: pip install 'litepose[train]'") from error
    names = [output.name for output in spec.outputs]
    axes = {"image": {0: BATCH, 2: "height", 3: "width"}}
    for one in spec.outputs:
        sides = {2: f"height_{one.stride}", 3: f"width_{one.stride}"} if one.stride else {}
        axes[one.name] = {0: BATCH, **sides}
    traced = temporary.with_suffix(".traced")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor; see the top of this file
        torch.onnx.export(
            network,
            (torch.zeros(1, 3, size[1], size[0], dtype=torch.uint8 if spec.input.pixels else torch.float32),),
            str(traced),
            input_names=["image"],
            output_names=names,
            dynamic_axes=axes if dynamic else None,
            opset_version=opset,
            dynamo=False,
        )
    model = onnx.load(str(traced))
    traced.unlink()
    if not dynamic:
        freeze_shapes(model)
        if spec.input.resize in BOX_RULES:
            free_batch(model)
    return model


def _save(model: Any, spec: PoseSpec, norms: str | None, temporary: Path, *, half_weights: bool) -> None:
    import onnx

    if spec.provenance["export"] == {"engine": BROWSER, "plain": False}:
        browser_form(model)
    if half_weights:
        shrink_weights(model)
    model.producer_name = "litepose"
    onnx.helper.set_model_props(model, {SPEC_KEY: spec.to_json()} | ({} if norms is None else {NORMS_KEY: norms}))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(temporary))


def _checked_inputs(spec: PoseSpec, size: tuple[int, int], dynamic: bool) -> list[np.ndarray]:
    """Return one input, and where batches are free several together, of another size where that is free too."""
    inputs = [example_input(spec.input, size), picture_input(PHOTO, spec.input, size)]
    if dynamic or spec.input.resize in BOX_RULES:
        other = (size[0] + 64, size[1]) if dynamic else size
        inputs.append(np.concatenate([example_input(spec.input, other, seed=seed) for seed in (1, 2, 3)]))
    return inputs
