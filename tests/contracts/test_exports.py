"""What every network family keeps when it is exported; a new file in `models/` is picked up by itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from contracts.test_families import SMALL, with_statistics
from litepose import checkpoints, unfolding
from litepose.export import ExportReport, example_input, export_onnx
from litepose.predictor import Predictor
from litepose.runtimes.onnx import OnnxRuntime
from litepose.skeleton import CROWDPOSE14
from litepose.spec import BOX_RULES, PoseSpec

SIZE = (64, 96)
FLOAT = 2e-5  # of the largest output: float32 through some hundred layers whose weights are random


@pytest.fixture(scope="module", params=SMALL)
def exported(request, tmp_path_factory):
    """(network, its spec, {"fixed": report, "dynamic": report}) of the cheapest variant of each family, trainable."""
    torch.set_num_threads(1)
    spec = checkpoints.default_spec(request.param, CROWDPOSE14)
    network = with_statistics(checkpoints.build_network(spec)).eval()
    folder = tmp_path_factory.mktemp(request.param)
    reports = {
        way: export_onnx(network, spec, folder / f"{way}.onnx", size=SIZE, dynamic=way == "dynamic", trainable=True)
        for way in ("fixed", "dynamic")
    }
    return network, spec, reports


def assert_equal(network: torch.nn.Module, path: Path, batch: np.ndarray) -> None:
    with torch.inference_mode():
        wanted = [output.numpy() for output in network(torch.from_numpy(batch))]
    for found, expected in zip(OnnxRuntime(path, threads=1)(batch), wanted, strict=True):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= FLOAT * np.abs(expected).max()


def batch_of(spec: PoseSpec, count: int, size: tuple[int, int]) -> np.ndarray:
    return np.concatenate([example_input(spec.input, size, seed=10 + i) for i in range(count)])


def free_axes(path: Path) -> list[bool]:
    return [bool(one.dim_param) for one in onnx.load(str(path)).graph.input[0].type.tensor_type.shape.dim]


@pytest.mark.parametrize("count", [1, 3])
def test_a_fixed_file_computes_what_the_network_computes(exported, count):
    network, spec, reports = exported
    assert_equal(network, reports["fixed"].path, batch_of(spec, count, SIZE))
    assert isinstance(reports["fixed"], ExportReport) and reports["fixed"].max_error <= FLOAT * reports["fixed"].largest


@pytest.mark.parametrize(("count", "size"), [(1, SIZE), (3, (128, 64))])
def test_a_dynamic_file_takes_any_batch_and_size(exported, count, size):
    network, spec, reports = exported
    assert_equal(network, reports["dynamic"].path, batch_of(spec, count, size))
    assert free_axes(reports["dynamic"].path) == [True, False, True, True]


def test_a_fixed_file_of_crops_takes_any_batch_and_holds_no_shapes(exported):
    _, spec, reports = exported
    path = reports["fixed"].path
    assert free_axes(path) == [spec.input.resize in BOX_RULES, False, False, False]
    kinds = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert not kinds & {"Shape", "Gather", "Constant", "ConstantOfShape", "Cast", "Expand", "BatchNormalization"}


def test_the_spec_is_in_the_file(exported):
    _, spec, reports = exported
    for report in reports.values():
        runtime = OnnxRuntime(report.path, threads=1)
        found = runtime.spec
        assert (found.model, found.skeleton, found.codec) == (spec.model, spec.skeleton, spec.codec)
        assert found.outputs == spec.outputs and found.network == spec.network
        assert found.input.size == SIZE and found.input.resize == spec.input.resize
        assert runtime.size == (SIZE if report is reports["fixed"] else None)


@pytest.mark.parametrize("way", ["fixed", "dynamic"])
def test_a_checkpoint_comes_back_from_the_file(exported, way):
    network, _, reports = exported
    state, _ = unfolding.load(reports[way].path)
    wanted = network.state_dict()
    assert state.keys() == wanted.keys()
    for name, tensor in wanted.items():  # means: biases are stored in half precision and divided by scales of about 1
        share = 1e-2 if name.endswith("running_mean") else 2.0**-9
        assert torch.allclose(state[name], tensor, rtol=0, atol=share * float(tensor.abs().max())), name


def test_the_people_of_a_picture_share_a_forward_pass(exported, monkeypatch):
    _, spec, reports = exported
    runtime = OnnxRuntime(reports["fixed"].path, threads=1)
    batches = []
    run = runtime._session.run
    monkeypatch.setattr(
        runtime, "_session", Spy(lambda names, feed: batches.append(len(feed["image"])) or run(names, feed))
    )
    picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    if spec.input.resize in BOX_RULES:
        boxes = np.array([[5, 5, 60, 110], [50, 10, 100, 100], [90, 0, 150, 119.0]])
        found = Predictor(runtime)(picture, boxes)
        assert batches == [3] and len(found) == 3
        alone = [Predictor(runtime)(picture, boxes[i : i + 1]) for i in range(3)]
        order = [int(np.abs(boxes - one).sum(axis=1).argmin()) for one in found.boxes]
        for i, place in enumerate(order):
            np.testing.assert_allclose(found.keypoints[i], alone[place].keypoints[0], atol=1e-2)  # a peak's sub-pixel
    else:
        Predictor(runtime).batch([picture, picture])
        assert batches == [1, 1]


class Spy:
    """A session of which only `run` is used."""

    def __init__(self, run) -> None:
        self.run = run
