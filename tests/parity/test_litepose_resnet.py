"""LitePose's ResNet and a sub-network of its supernet against the authors' implementation."""

from __future__ import annotations

import pytest
import torch

from litepose import checkpoints, models
from litepose.importing import rename
from litepose.models.layers import fuse_batchnorm
from litepose.models.litepose_resnet import OFFICIAL_KEYS
from litepose.skeleton import CROWDPOSE14
from parity.fixtures import load_case
from parity.networks import check_counts, filled, largest_difference

SAME_OPERATIONS = 1e-5  # relative to max|y|: float32, other convolution kernels on other machines
FOLDED = 1e-4  # folding rounds every weight once
TOPIC = "models/litepose-other"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.mark.parametrize("case", ["resnet", "resnet_small"])
def test_litepose_resnet_equals_the_authors(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    torch.save(filled(about), tmp_path / "model_best.pth.tar")
    network, spec = checkpoints.import_official(tmp_path / "model_best.pth.tar", "litepose_resnet", CROWDPOSE14)
    assert largest_difference(network, about, arrays) < SAME_OPERATIONS
    assert largest_difference(fuse_batchnorm(network), about, arrays) < FOLDED
    check_counts(network, about)
    assert spec.provenance["colour"] == "RGB"


def test_the_first_channels_of_their_supernet_are_the_network_at_half_width():
    about, arrays = load_case(TOPIC, "superresnet-half")
    network = models.build("litepose_resnet", num_keypoints=14, deconv_channels=about["arch"]["deconv_setting"]).eval()
    # The second layer of the stem is not wrapped into a module of its own there.
    moved = {"first.1.": "first.1.0.", "first.2.": "first.1.1."}
    state = {moved.get(name[:8], name[:8]) + name[8:]: one for name, one in filled(about).items()}
    state = rename(state, OFFICIAL_KEYS, source="official")
    shapes = {name: one.shape for name, one in network.state_dict().items()}
    assert set(state) == set(shapes)
    network.load_state_dict({name: state[name][tuple(map(slice, shape))] for name, shape in shapes.items()})
    assert largest_difference(network, about, arrays) < SAME_OPERATIONS
