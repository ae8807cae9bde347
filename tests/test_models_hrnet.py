"""HRNet beyond the parity numbers: what each variant costs, how it starts, its trunk alone, impossible settings."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from litepose import checkpoints, models
from litepose.counting import count, rule_of
from litepose.errors import SettingError
from litepose.models.hrnet import PUBLISHED, Trunk
from litepose.skeleton import COCO17


@pytest.mark.parametrize(
    ("name", "params", "macs", "macs_384x288"),
    [
        ("hrnet_w32", 28_536_113, 7_645_003_776, 17_201_258_496),
        ("hrnet_w48", 63_595_745, 15_691_825_152, 35_306_606_592),
        ("hrnet_w16_small", 1_284_961, 570_703_872, 1_284_083_712),
    ],
)
def test_a_variant_costs_what_is_known_of_it(name, params, macs, macs_384x288):
    with torch.device("meta"):
        network = checkpoints.build_network(checkpoints.default_spec(name, COCO17))
    small, large = count(network, (192, 256)), count(network, (288, 384))
    assert (small.params, small.macs, large.macs) == (params, macs, macs_384x288)
    printed = PUBLISHED[name][17]["sizes"][192, 256]["macs"]
    assert count(network, (192, 256), rule=rule_of(name)).macs_reference == pytest.approx(printed, rel=0.004)


def test_every_convolution_starts_from_small_normal_weights_and_zero_bias():
    torch.manual_seed(0)
    network = models.build("hrnet_w16_small", num_keypoints=17)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    weights = torch.cat([module.weight.flatten() for module in convolutions])
    assert weights.std().item() == pytest.approx(0.001, rel=0.01)
    assert abs(weights.mean().item()) < 1e-5
    assert [module.bias.abs().sum().item() for module in convolutions if module.bias is not None] == [0.0]


def test_the_trunk_gives_as_many_branches_as_asked():
    images = torch.zeros(1, 3, 64, 96)
    for num_outputs in (1, 2, 4):
        trunk = Trunk(16, bottlenecks=1, modules=(1, 1, 1), blocks=1, num_outputs=num_outputs).eval()
        with torch.no_grad():
            shapes = [tuple(one.shape) for one in trunk(images)]
        assert shapes == [(1, 16, 16, 24), (1, 32, 8, 12), (1, 64, 4, 6), (1, 128, 2, 3)][:num_outputs]


@pytest.mark.parametrize("setting", [{"width": 0}, {"blocks": 1.5}, {"modules": (1, 2)}, {"modules": (1, 0, 1)}])
def test_impossible_settings_are_refused(setting):
    with pytest.raises(SettingError, match="found"):
        models.build("hrnet_w32", num_keypoints=17, **setting)
