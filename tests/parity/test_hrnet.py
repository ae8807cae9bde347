"""HRNet and Small HRNet against the reference implementations: network, importer and counts at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from litepose import checkpoints
from litepose.models.layers import PoseNetwork, fuse_batchnorm
from litepose.skeleton import COCO17, MPII16
from parity.fixtures import cases, load_case
from parity.networks import check_counts, difference, filled

PLAIN = 1e-4  # relative to max|y|: the plainly filled state lets activations grow to 1e10
DAMPED = 1e-5  # relative to max|y|: float32 through some hundred layers
FOLDED = 1e-4  # the same as plain: folding rounds every weight once
SMALL = ("models/small_hrnet", "hrnet_w16_small_coco")
LARGE = [("models/hrnet", case) for case in cases("models/hrnet")]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def variant_of(case: str) -> str:
    """ "w32-mpii" is hrnet_w32, "hrnet_w16_small_coco" hrnet_w16_small."""
    return case.removesuffix("_coco") if case.startswith("hrnet_") else "hrnet_" + case.split("-")[0]


def imported(tmp_path, case: str, state: dict[str, Tensor]) -> PoseNetwork:
    last_bias = next(one for name, one in state.items() if name.endswith("final_layer.bias"))
    skeleton = {17: COCO17, 16: MPII16}[len(last_bias)]
    source = "mmpose" if any("keypoint_head." in name or "backbone." in name for name in state) else "official"
    torch.save(state, tmp_path / "model_best.pth")
    network, _ = checkpoints.import_official(tmp_path / "model_best.pth", variant_of(case), skeleton, source=source)
    return network


@pytest.mark.parametrize(("topic", "case"), [SMALL, *LARGE])
def test_hrnet_equals_the_reference(topic, case, tmp_path):
    about, arrays = load_case(topic, case)
    network = imported(tmp_path, case, filled(about))
    assert difference(network, about, arrays["output_0"]) < PLAIN
    check_counts(network, about)


@pytest.mark.parametrize(("topic", "case"), LARGE)
def test_hrnet_equals_the_reference_on_well_scaled_weights(topic, case, tmp_path):
    about, arrays = load_case(topic, case)
    network = imported(tmp_path, case, filled(about, damped=True))
    assert difference(network, about, arrays["damped_output_0"]) < DAMPED


def test_folded_small_hrnet_equals_the_reference(tmp_path):
    about, arrays = load_case(*SMALL)
    fused = fuse_batchnorm(imported(tmp_path, SMALL[1], filled(about)))
    assert difference(fused, about, arrays["output_0"]) < FOLDED


@pytest.mark.parametrize("naming", ["official", "data parallel", "mmpose 0", "mmpose 1", "without counters"])
def test_every_way_of_naming_the_tensors_gives_the_same_network(naming, tmp_path):
    about, arrays = load_case(*SMALL)
    state = filled(about)  # mmpose 0.x names: backbone., keypoint_head.
    plain = {name.removeprefix("backbone.").removeprefix("keypoint_head."): one for name, one in state.items()}
    named = {
        "official": plain,
        "data parallel": {f"module.{name}": one for name, one in plain.items()},
        "mmpose 0": state,
        "mmpose 1": {name.replace("keypoint_head.", "head."): one for name, one in state.items()},
        "without counters": {name: one for name, one in plain.items() if not name.endswith("num_batches_tracked")},
    }[naming]
    network = imported(tmp_path, SMALL[1], named)
    assert difference(network, about, arrays["output_0"]) < PLAIN
