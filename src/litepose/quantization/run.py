"""A float model file becomes one with integer layers, is compared with it, and is kept where it pays."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from litepose.errors import ExportError, ModelError, SettingError, nearest_name
from litepose.evaluation import GT, Data, evaluate_model, open_boxes
from litepose.files import check_writable, replacing, short_name
from litepose.predictor import Predictor, load
from litepose.quantization.calibration import Calibration, collect
from litepose.quantization.compare import compare_people, compare_scores, time_turns
from litepose.quantization.graph import METHODS, TARGETS, FloatGraph, import_quantization, this_target
from litepose.quantization.layers import Choice, ErrorMeter, choose_layers
from litepose.quantization.report import QuantizationReport
from litepose.runtimes.onnx import OnnxRuntime
from litepose.spec import SPEC_KEY, PoseSpec
from litepose.weights import DEFAULT, path_of

LIMIT = 0.07  # the largest change of an output, rms / standard deviation, that is chosen without asking
NUM_PROBES = 8  # inputs on which errors are looked up

Progress = Callable[[str, int, int], None]


def quantize_model(
    model: str | Path,
    data: Data,
    output: str | Path,
    *,
    test: Data | None = None,
    target: str | None = None,
    method: str = "percentile",
    pictures: int = 128,
    boxes: str | None = None,
    limit: int | None = None,
    max_error: float = LIMIT,
    threads: int = 1,
    keep: bool = False,
    on_report: Callable[[QuantizationReport], None] | None = None,
    progress: Progress | None = None,
) -> QuantizationReport:
    """Quantize an exported file with pictures and write the result where it is worth having.

    model: a shipped name or an .onnx file. data: to calibrate on, on the model's skeleton; test: to compare on, the
        same where it is None; limit: its first pictures only.
    target: "x86" or "arm", the kind of machine that the file is for; None = this one's. method: of METHODS.
    boxes: of top-down models, see `evaluation.open_boxes`. max_error: layers stay float until no part of an output
        changes by more, rms / standard deviation. threads: with which is timed.
    keep: write the file whatever it is worth. on_report: is told the report before it is decided.
    progress: called with (what is done, how many are done, how many there are).
    Raises ExportError where the file is not worth keeping, ModelError for what cannot be quantized, SettingError,
    AnnotationError, MissingPackageError.
    """
    path, output, target = path_of(model), _checked_output(output), target or this_target()
    _check_settings(path, target, method, max_error)
    finder = load(path, threads=threads)
    _check_plain(finder.spec, path)
    source = open_boxes(boxes, finder, data, threads=threads)
    calibration = collect(finder, data, pictures=pictures, boxes=source, progress=_of(progress, "pictures"))
    with tempfile.TemporaryDirectory() as folder:
        graph = FloatGraph(path, Path(folder))
        ranges = graph.ranges(calibration.inputs, method)
        choice = _choose(graph, finder.spec, calibration, ranges, target, max_error, _of(progress, "layers"))
        integers = graph.quantized(choice.layers, ranges, target=target)
    facts = _facts(finder, data, calibration, choice, target, method)
    with replacing(output) as temporary:
        _save(integers, _spec_of(finder.spec, facts), temporary)
        report = _compared(
            finder, temporary, test or data, calibration, choice, facts,
            output=output, boxes=boxes, limit=limit, progress=progress, num_layers=len(graph.layers),
        )  # fmt: skip
        report = dataclasses.replace(report, kept=keep or not report.faults)
        if on_report is not None:
            on_report(report)
        if not report.kept:
            fewer = f", a --max-error below {max_error:g} (fewer layers as int8)" if report.accuracy_fault else ""
            raise ExportError(
                f"The int8 file of {path} is not kept; the float model is the better one here: "
                f"{'; '.join(report.faults)}. Use the float model{fewer}, or --keep the file, for instance to time it "
                "on another machine."
            )
        _save(integers, _spec_of(finder.spec, facts, report), temporary)
    return report


def _checked_output(output: str | Path) -> Path:
    path = Path(output)
    if path.suffix.lower() != ".onnx":
        raise SettingError(f"Cannot write int8 to {path}: possible is .onnx. Name it {path.with_suffix('.onnx')}.")
    check_writable(path)
    return path


def _check_settings(path: Path, target: str, method: str, max_error: float) -> None:
    if target not in TARGETS:
        raise SettingError(f"No target {target!r}. {nearest_name(target, TARGETS)}")
    if method not in METHODS:
        raise SettingError(f"No method {method!r} to find ranges. {nearest_name(method, METHODS)}")
    if not max_error > 0:
        raise SettingError(f"The largest error of an output must be above 0; found {max_error:g}. Use {LIMIT}.")
    if path.is_file() and path.suffix.lower() != ".onnx":
        raise ModelError(
            f"{path} was to be quantized; possible is an .onnx file. Export it first: "
            f"litepose export {path} -o {path.with_suffix('.onnx').name} (bottom-up models: --dynamic)."
        )
    import_quantization()


def _check_plain(spec: PoseSpec, path: Path) -> None:
    """Raise ModelError for a file that does more than compute the network: its maps are what errors are measured by."""
    inside = ["--pixels"] * spec.input.pixels + ["--peaks"] * any(not output.stride for output in spec.outputs)
    if inside:
        raise ModelError(
            f"{path} was to be quantized; it was exported with {' and '.join(inside)}, and only a file that takes "
            "normalised pictures and gives maps can be. Export it without."
        )


def _choose(
    graph: FloatGraph,
    spec: PoseSpec,
    calibration: Calibration,
    ranges: Any,
    target: str,
    max_error: float,
    progress: Callable[[int, int], None] | None,
) -> Choice:
    """The layers that make the outputs stay float: tags are compared by their values, peaks at sub-pixels."""
    last = graph.last_layers([output.name for output in spec.outputs])
    return choose_layers(
        graph, ErrorMeter(graph, spec, calibration.some(NUM_PROBES)),
        lambda layers: graph.quantized(layers, ranges, target=target),
        always_float=last, limit=max_error, progress=progress,
    )  # fmt: skip


def _compared(
    finder: Predictor,
    file: Path,
    test: Data,
    calibration: Calibration,
    choice: Choice,
    facts: dict[str, Any],
    *,
    output: Path,
    boxes: str | None,
    limit: int | None,
    progress: Progress | None,
    num_layers: int,
) -> QuantizationReport:
    """Return the report on a file that lies under a temporary name. facts: see `_facts`."""
    assert isinstance(finder.runtime, OnnxRuntime), type(finder.runtime)
    found = []
    other = load(file, threads=finder.runtime.threads)
    for name, one in (("float", finder), ("int8", other)):
        evaluation = evaluate_model(
            one, test, model=name, boxes=boxes, limit=limit, beside=output, threads=one.runtime.threads,
            progress=_of(progress, f"{name} model"),
        )  # fmt: skip
        assert evaluation is not None, "one process"
        evaluation.finish()
        found.append(evaluation)
    alike = compare_people(found[0].found, found[1].found)
    return QuantizationReport(
        path=output,
        model=finder.spec.model,
        target=facts["target"],
        here=this_target(),
        layers=choice.layers,
        num_layers=num_layers,
        costly=choice.costs,
        errors=choice.errors,
        errors_of_all=choice.errors_of_all,
        timing=time_turns(finder.runtime, other.runtime, calibration.some(NUM_PROBES)),
        measures=compare_scores(*found),
        likeness=alike.oks,
        people=alike.people,
        test=test.name + (_whose_boxes(boxes, test) if finder.takes_boxes else ""),
        num_pictures=len(found[0].found),
        num_bytes=(finder.runtime.path.stat().st_size, file.stat().st_size),
        calibration=facts["calibration"],
    )


def _whose_boxes(boxes: str | None, test: Data) -> str:
    """Return what a top-down model's numbers depend on, as the end of the data's name."""
    annotated = boxes == GT or (boxes is None and test.is_annotated)
    return ", annotated boxes" if annotated else f", boxes by {short_name(boxes or DEFAULT)}"


def _facts(
    finder: Predictor, data: Data, calibration: Calibration, choice: Choice, target: str, method: str
) -> dict[str, Any]:
    """Return what the file's provenance says of how it was made."""
    import onnxruntime

    assert isinstance(finder.runtime, OnnxRuntime), type(finder.runtime)
    known = finder.spec.provenance
    return {
        "format": "QDQ, int8 weights by channel",
        "activations": "int8" if target == "arm" else "uint8",
        "target": target,
        "calibration": {
            "data": data.name, "pictures": calibration.pictures, "looked_at": calibration.looked,
            "inputs": len(calibration.inputs), "method": method,
        },
        "layers": len(choice.layers),
        "onnxruntime": onnxruntime.__version__,
        "float_model": {
            "sha256": hashlib.sha256(finder.runtime.path.read_bytes()).hexdigest(),
            **{key: known[key] for key in ("metrics", "measured_on", "weights_sha256") if key in known},
        },
    }  # fmt: skip


def _spec_of(spec: PoseSpec, facts: dict[str, Any], report: QuantizationReport | None = None) -> PoseSpec:
    """Return the spec with the quantization in its provenance; what was measured of the float model is not the file's.

    report: whose numbers are the file's own.
    """
    dropped = ("metrics", "measured_on", "weights_sha256")
    kept = {key: value for key, value in spec.provenance.items() if key not in dropped}
    if report is not None and report.measures:
        kept["metrics"] = {name: round(after, 4) for name, (_, after) in report.measures.items()}
        kept["measured_on"] = f"{report.test}, {report.num_pictures} pictures"
    return dataclasses.replace(spec, provenance={**kept, "quantized": facts})


def _save(model: Any, spec: PoseSpec, path: Path) -> None:
    import onnx

    onnx.helper.set_model_props(model, {SPEC_KEY: spec.to_json()})  # what training needs of a file is no longer true
    onnx.save(model, str(path))


def _of(progress: Progress | None, what: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(what, done, total)
