"""What a model card tells in numbers: a shipped model on the validation pictures, and how fast it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from litepose import weights
from litepose.benchmark import BenchReport, Ratio, as_jpeg, benchmark_together, compare
from litepose.datasets import open_dataset
from litepose.detectors import truth_boxes
from litepose.evaluation import Evaluation, evaluate_model, open_data
from litepose.failure_report import sizes_in
from litepose.machine_limits import convolution_gflops, fma_gflops
from litepose.metrics.bootstrap import Measures, resampled
from litepose.metrics.diagnosis import Diagnosis, diagnose
from litepose.metrics.keypoint_errors import PictureErrors, find_errors
from litepose.metrics.pck_diagnosis import PckDiagnosis, diagnose_pck, measured_pck
from litepose.predictor import load
from litepose.spec import PoseSpec

RESAMPLES = 1000
MIDDLE = (2.5, 97.5)  # percent, of an interval
SCENE = "synthetic:people=5-5,seed=0,size=640x480"  # what `litepose bench` times


@dataclass(frozen=True)
class Row:
    """One way to use the model on the validation pictures. stats: AP, ..., PCK, OKS; interval: of AP."""

    way: str
    options: str
    stats: dict[str, float]
    interval: tuple[float, float]


@dataclass(frozen=True)
class Speed:
    """A model's times, and how much faster than it litepose_xs is, None for itself. peak: GFLOP/s of one core."""

    report: BenchReport
    ratio: Ratio | None
    peak: float | None


@dataclass(frozen=True)
class Measured:
    """Everything measured of one shipped model.

    rows: the first is the model as it is. errors: of that, people with a good score. lspet: of top-down models, None
    of others. speed: None where it was not timed. num_pictures, num_people: of the validation pictures.
    """

    name: str
    spec: PoseSpec
    num_bytes: int
    sha256: str
    top_down: bool
    num_pictures: int
    num_people: int
    rows: tuple[Row, ...]
    diagnosis: Diagnosis
    errors: tuple[PictureErrors, ...]
    lspet: PckDiagnosis | None
    speed: Speed | None


def measure(
    name: str, coco: str, lspet: str | None, *, detector: str | None = None, speed: Speed | None = None
) -> Measured:
    """Measure a shipped model. coco, lspet: annotation files. detector: for one more row of a top-down model."""
    path = weights.path_of(name)
    finder = load(name, threads=1)
    rows, evaluations = [], []
    for way, options in ways(finder.takes_boxes, detector).items():
        evaluation = _evaluate(name, coco, **options)
        evaluations.append(evaluation)
        rows.append(_row(way, options, evaluation))
    first = evaluations[0]
    truth = first.protocol.truth_of(first.found, first.seen)
    assert truth is not None and first.report is not None
    errors = find_errors(truth, first.found)
    diagnosis = diagnose(truth, first.found, finder.skeleton, sizes=sizes_in(first.data.content), errors=errors)
    threshold = -np.inf if diagnosis.curves.threshold is None else diagnosis.curves.threshold.score
    return Measured(
        name=name,
        spec=finder.spec,
        num_bytes=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        top_down=finder.takes_boxes,
        num_pictures=first.report.num_pictures,
        num_people=first.report.scores.num_people,
        rows=tuple(rows),
        diagnosis=diagnosis,
        errors=tuple(one.above(threshold) for one in errors),
        lspet=_lspet(name, lspet) if finder.takes_boxes and lspet is not None else None,
        speed=speed,
    )


def ways(top_down: bool, detector: str | None) -> dict[str, dict[str, object]]:
    """Return what is tried, by its name: options as of `litepose eval`."""
    if not top_down:
        return {"as it is": {}, "flip test": {"flip": True}, "quick decoding": {"decode": "fast"}}
    tried: dict[str, dict[str, object]] = {
        "annotated boxes": {},
        "annotated boxes, flip test": {"flip": True},
        f"{weights.DEFAULT}'s people for boxes": {"boxes": weights.DEFAULT},
    }
    if detector is not None:
        tried[f"boxes of {Path(detector).stem}"] = {"boxes": detector}
    return tried


def _evaluate(
    name: str,
    data: str,
    *,
    flip: bool = False,
    decode: str | None = None,
    boxes: str | None = None,
    protocol: str | None = None,
) -> Evaluation:
    finder = load(name, threads=1, flip=flip, decode=decode)
    opened = open_data(data, skeleton=finder.skeleton)
    evaluation = evaluate_model(finder, opened, model=name, boxes=boxes, protocol=protocol, threads=1)
    assert evaluation is not None and evaluation.report is not None
    evaluation.finish()
    return evaluation


def _row(way: str, options: dict[str, object], evaluation: Evaluation) -> Row:
    assert evaluation.report is not None
    data = evaluation.report.to_json()
    pictures = evaluation.report.scores.per_picture
    measures = Measures(pictures)
    drawn = [measures(weights)["AP"] for weights in resampled(len(pictures), RESAMPLES, 0, at_once=100)]
    low, high = np.nanpercentile(np.concatenate(drawn), MIDDLE)
    named = {name: Path(str(value)).name for name, value in options.items()}
    words = " ".join(f"--{name}" if options[name] is True else f"--{name} {value}" for name, value in named.items())
    return Row(way, words, {**data["stats"], "OKS": data["OKS"]}, (float(low), float(high)))


def _lspet(name: str, data: str) -> PckDiagnosis:
    evaluation = _evaluate(name, data, protocol="pck")
    truth = evaluation.protocol.truth_of(evaluation.found, evaluation.seen)
    assert truth is not None
    return diagnose_pck(measured_pck(truth, evaluation.found, truth.skeleton))


def time_models(names: Sequence[str], *, repeat: int) -> dict[str, Speed]:
    """Time the models in turns with litepose_xs, as `litepose bench` does: one thread, five drawn people."""
    first = weights.DEFAULT
    everybody = [first, *(name for name in names if name != first)]
    predictors = [load(name, threads=1) for name in everybody]
    scene = open_dataset(SCENE)[0]
    per_core, attained = fma_gflops(), {"onnx": convolution_gflops("onnx", 1)}
    reports = benchmark_together(
        predictors, [as_jpeg(scene.image)], boxes=truth_boxes(scene)[0], repeat=repeat, peak_gflops=per_core,
        attained_gflops=attained,
    )  # fmt: skip
    ratios = {one.second: one for one in compare(reports, everybody)}
    pairs = zip(everybody, reports, strict=True)
    return {name: Speed(report, ratios.get(name), per_core) for name, report in pairs}
