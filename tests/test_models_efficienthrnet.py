"""EfficientHRNet and LitePose's ResNet beyond the parity numbers: widths, padding, dropped blocks, settings."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from litepose import models
from litepose.counting import count, rule_of
from litepose.errors import SettingError
from litepose.models.efficienthrnet import AttentionBottleneck
from litepose.models.layers import ConvNorm, fuse_batchnorm


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.mark.parametrize(
    ("name", "features", "branches", "side", "giga"),
    [
        ("efficienthrnet_h1", [24, 40, 104, 288], [26, 52, 103, 206], 480, 14.29),
        ("efficienthrnet_h2", [24, 32, 96, 264], [21, 42, 83, 166], 448, 7.78),
        ("efficienthrnet_h3", [24, 32, 88, 240], [17, 34, 67, 133], 416, 4.24),
        ("efficienthrnet_h4", [16, 32, 80, 216], [14, 27, 54, 107], 384, 2.12),
    ],
)
def test_a_variant_has_the_widths_and_costs_that_are_known_of_it(name, features, branches, side, giga):
    with torch.device("meta"):
        network = models.build(name, num_keypoints=14)
    assert network.backbone.out_channels == features
    assert [conv.conv.out_channels for conv in network.trunk.transitions[-1]] == branches
    counts = count(network, (side, side), rule=rule_of(name))
    assert counts.macs_reference == pytest.approx(giga * 1e9, abs=0.005e9)


@pytest.mark.parametrize(
    ("kernel", "stride", "zeros"), [(3, 2, (0, 1)), (5, 2, (1, 2)), (3, 1, (1, 1)), (5, 1, (2, 2))]
)
def test_the_zero_that_is_left_over_lies_below_and_right(kernel, stride, zeros):
    layer = ConvNorm(2, 3, kernel=kernel, stride=stride, tensorflow_padding=True, activation=None).eval()
    x = torch.randn(1, 2, 8, 12)
    with torch.no_grad():
        wanted = layer.norm(F.conv2d(F.pad(x, zeros * 2), layer.conv.weight, stride=stride))
        torch.testing.assert_close(layer(x), wanted)
    assert wanted.shape[2:] == (8 // stride, 12 // stride)


def test_a_bias_before_a_norm_learns_nothing_and_is_folded():
    layer = ConvNorm(2, 3, kernel=3, bias=True, activation=nn.ReLU)
    assert [name for name, p in layer.named_parameters() if not p.requires_grad] == ["conv.bias"]
    nn.init.normal_(layer.norm.bias)
    nn.init.uniform_(layer.norm.running_var, 0.5, 2)
    x = torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(fuse_batchnorm(layer)(x), layer.eval()(x), atol=1e-6, rtol=1e-5)


def test_a_dropped_block_passes_its_input_and_the_others_are_enlarged():
    block = AttentionBottleneck(8, 8, expansion=2, kernel=3, stride=1, dropped_share=0.25)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()  # so that all pictures of a batch are alike
    x = torch.randn(1, 8, 4, 4).expand(64, -1, -1, -1)
    with torch.no_grad():
        changes = block(x) - x
        block.eval()
        usual = (block(x) - x)[0]
    kept = [bool(one.any()) for one in changes]
    assert 0.6 < sum(kept) / len(kept) < 0.9
    for one, is_kept in zip(changes, kept, strict=True):
        torch.testing.assert_close(one, usual / 0.75 if is_kept else torch.zeros_like(usual), atol=1e-6, rtol=1e-5)


def test_nothing_is_dropped_where_nobody_asks_for_it():
    network = models.build("efficienthrnet_h4", num_keypoints=14)
    blocks = [module for module in network.modules() if isinstance(module, AttentionBottleneck)]
    assert {block.dropped_share for block in blocks} == {0.0}
    network = models.build("efficienthrnet_h4", num_keypoints=14, dropped_share=0.2)
    blocks = [module for module in network.modules() if isinstance(module, AttentionBottleneck)]
    assert {block.dropped_share for block in blocks} == {0.2}


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("efficienthrnet_h4", {"width": 0}),
        ("efficienthrnet_h4", {"dropped_share": 1.0}),
        ("efficienthrnet_h4", {"modules": (1, 1)}),
        ("efficienthrnet_h4", {"modules": (1, 0, 1)}),
        ("litepose_resnet", {"depths": (1, 1, 1)}),
        ("litepose_resnet", {"channels": (8, 0, 8, 8)}),
        ("litepose_resnet", {"deconv_channels": (8, 8)}),
    ],
)
def test_impossible_settings_are_refused(name, setting):
    with pytest.raises(SettingError, match="found"):
        models.build(name, num_keypoints=14, **setting)
