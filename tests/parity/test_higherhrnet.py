"""HigherHRNet against the LitePose authors' implementation: network, importer and counts at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from litepose import checkpoints
from litepose.models.layers import PoseNetwork, fuse_batchnorm
from litepose.skeleton import COCO17, CROWDPOSE14
from litepose.spec import PoseSpec
from parity.fixtures import cases, load_case
from parity.networks import check_counts, filled, largest_difference, scaled

PLAIN = 1e-4  # relative to max|y|: the plainly filled state lets activations grow to 1e11
SCALED = 1e-5  # relative to max|y|: float32 through some hundred layers
FOLDED = 1e-4  # folding rounds every weight once
TOPIC = "models/higherhrnet"
SMALL = "w16-baseline_small"
# What a case's name does not say by itself.
SETTINGS: dict[str, dict[str, Any]] = {"stem64": {"bottleneck_channels": 64, "deconv_blocks": 4}}
VARIANT_ENDS = {"baseline": "", "coco": "", "stem64": "", "shrink3": "_shrink3"}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def imported(tmp_path, case: str, state: dict[str, Tensor], **options: str) -> tuple[PoseNetwork, PoseSpec]:
    """ "w16-shrink3" is higherhrnet_w16_shrink3, "w32-coco" higherhrnet_w32."""
    width, _, end = case.removesuffix("_small").partition("-")
    last_bias = next(one for name, one in state.items() if name.endswith("final_layers.1.bias"))
    torch.save(state, tmp_path / "model_best.pth.tar")
    return checkpoints.import_official(
        tmp_path / "model_best.pth.tar",
        f"higherhrnet_{width}{VARIANT_ENDS.get(end, '')}",
        {17: COCO17, 14: CROWDPOSE14}[len(last_bias)],
        **SETTINGS.get(end, {}),
        **options,
    )


@pytest.mark.parametrize("case", cases(TOPIC))
def test_higherhrnet_equals_the_authors(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network, _ = imported(tmp_path, case, filled(about))
    assert largest_difference(network, about, arrays) < PLAIN
    check_counts(network, about)


@pytest.mark.parametrize("case", cases(TOPIC))
def test_higherhrnet_equals_the_authors_on_well_scaled_weights(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network, _ = imported(tmp_path, case, scaled(about))
    assert largest_difference(network, about, arrays, "scaled_output") < SCALED


def test_folded_higherhrnet_equals_the_authors(tmp_path):
    about, arrays = load_case(TOPIC, SMALL)
    fused = fuse_batchnorm(imported(tmp_path, SMALL, scaled(about))[0])
    assert largest_difference(fused, about, arrays, "scaled_output") < FOLDED


@pytest.mark.parametrize("naming", ["half precision", "half precision, data parallel", "mmpose", "without counters"])
def test_every_way_of_naming_the_tensors_gives_the_same_network(naming, tmp_path):
    about, arrays = load_case(TOPIC, SMALL)
    state = scaled(about)
    head = ("final_layers.", "deconv_layers.")
    named = {
        "half precision": {f"1.{name}": one for name, one in state.items()},
        "half precision, data parallel": {f"module.1.{name}": one for name, one in state.items()},
        "mmpose": {f"{'keypoint_head' if n.startswith(head) else 'backbone'}.{n}": one for n, one in state.items()},
        "without counters": {name: one for name, one in state.items() if not name.endswith("num_batches_tracked")},
    }[naming]
    network, spec = imported(tmp_path, SMALL, named, source="mmpose" if naming == "mmpose" else "official")
    assert largest_difference(network, about, arrays, "scaled_output") < SCALED
    assert spec.provenance["colour"] == "RGB"
    assert "inferred" in spec.provenance["note"]
