"""SimpleBaseline against the authors' implementation and mmpose's light ones: network, importer and counts at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from litepose import checkpoints
from litepose.models.layers import PoseNetwork, fuse_batchnorm
from litepose.skeleton import COCO17, MPII16
from parity.fixtures import cases, load_case
from parity.networks import check_counts, difference, filled

PLAIN = 1e-4  # relative to max|y|: the plainly filled state lets activations grow to 1e11
DAMPED = 1e-5  # relative to max|y|: float32 through some hundred layers
FOLDED = 1e-4  # the same as plain: folding rounds every weight once
OFFICIAL = [("models/simplebaseline", case) for case in cases("models/simplebaseline")]
LIGHT = [(t, case) for t in ("models/mobilenetv2_simple", "models/shufflenetv2_simple") for case in cases(t)]
SMALL = ("models/shufflenetv2_simple", "shufflenetv2_1x_coco")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def variant_of(case: str) -> str:
    """ "resnet50-mpii" is simplebaseline_50, "mobilenetv2_1x_coco" simplebaseline_mobilenetv2."""
    return "simplebaseline_" + case.split("-")[0].split("_")[0].removeprefix("resnet")


def imported(tmp_path, case: str, state: dict[str, Tensor], *, source: str = "official") -> PoseNetwork:
    skeleton = {17: COCO17, 16: MPII16}[len(next(t for name, t in state.items() if name.endswith("layer.bias")))]
    torch.save(state, tmp_path / "model_best.pth")
    network, _ = checkpoints.import_official(tmp_path / "model_best.pth", variant_of(case), skeleton, source=source)
    return network


@pytest.mark.parametrize(("topic", "case"), OFFICIAL)
def test_simplebaseline_equals_the_authors(topic, case, tmp_path):
    about, arrays = load_case(topic, case)
    network = imported(tmp_path, case, filled(about))
    assert difference(network, about, arrays["output_0"]) < PLAIN
    check_counts(network, about)


@pytest.mark.parametrize(("topic", "case"), OFFICIAL)
def test_simplebaseline_equals_the_authors_on_well_scaled_weights(topic, case, tmp_path):
    about, arrays = load_case(topic, case)
    network = imported(tmp_path, case, filled(about, damped=True))
    assert difference(network, about, arrays["damped_output_0"]) < DAMPED


@pytest.mark.parametrize(("topic", "case"), LIGHT)
def test_light_simplebaselines_equal_mmpose(topic, case, tmp_path):
    about, arrays = load_case(topic, case)
    network = imported(tmp_path, case, filled(about), source="mmpose")
    assert difference(network, about, arrays["output_0"]) < DAMPED
    check_counts(network, about)


def test_a_folded_simplebaseline_equals_the_reference(tmp_path):
    about, arrays = load_case(*SMALL)
    fused = fuse_batchnorm(imported(tmp_path, SMALL[1], filled(about), source="mmpose"))
    assert difference(fused, about, arrays["output_0"]) < FOLDED


@pytest.mark.parametrize("naming", ["mmpose 0", "mmpose 1", "data parallel", "without counters"])
def test_every_way_of_naming_the_tensors_gives_the_same_network(naming, tmp_path):
    about, arrays = load_case(*SMALL)
    state = filled(about)  # mmpose 0.x names: backbone., keypoint_head.
    named = {
        "mmpose 0": state,
        "mmpose 1": {name.replace("keypoint_head.", "head."): one for name, one in state.items()},
        "data parallel": {f"module.{name}": one for name, one in state.items()},
        "without counters": {name: one for name, one in state.items() if not name.endswith("num_batches_tracked")},
    }[naming]
    network = imported(tmp_path, SMALL[1], named, source="mmpose")
    assert difference(network, about, arrays["output_0"]) < DAMPED
