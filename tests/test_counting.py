"""Parameters and MACs of layers whose cost can be worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from litepose import models
from litepose.counting import RULES, count, rule_of
from litepose.errors import SettingError
from litepose.models.layers import fuse_batchnorm


def test_a_convolution_costs_its_kernel_at_each_output_position():
    counts = count(nn.Conv2d(3, 8, 5, stride=2, padding=2, bias=True), (32, 16))
    assert counts.params == 8 * 3 * 25 + 8
    assert counts.macs == (16 * 8) * 8 * 3 * 25
    assert counts.macs_reference == counts.macs + (16 * 8) * 8  # the bias
    assert counts.layers[0].output_shape == (8, 8, 16)


def test_a_depthwise_convolution_costs_one_kernel_for_each_channel():
    network = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 6, 7, padding=3, groups=6, bias=False))
    pointwise, depthwise = count(network, (10, 4)).layers
    assert (pointwise.macs, depthwise.macs) == (40 * 18, 40 * 6 * 49)


def test_a_deconvolution_costs_its_kernel_at_each_input_position_and_by_the_reference_at_each_output():
    counts = count(nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1, bias=False), (16, 8))
    assert counts.macs == (16 * 8) * 3 * 5 * 16
    assert counts.macs_reference == 4 * counts.macs


def test_the_reference_charges_two_for_batchnorm_one_for_relu6_two_for_relu_pools_and_upsampling():
    elements = 3 * 8 * 4
    costs = {}
    for layer in (
        nn.BatchNorm2d(3), nn.ReLU6(), nn.ReLU(), nn.Identity(), nn.SiLU(), nn.AdaptiveAvgPool2d(1),
        nn.Upsample(scale_factor=2), nn.UpsamplingNearest2d(scale_factor=2),
    ):  # fmt: skip
        counts = count(nn.Sequential(layer), (8, 4))
        assert counts.macs == 0
        costs[type(layer).__name__] = counts.macs_reference / elements
    each = {"BatchNorm2d": 2, "ReLU6": 1, "ReLU": 2, "Identity": 0, "SiLU": 0, "AdaptiveAvgPool2d": 2}
    assert costs == {**each, "Upsample": 4 * 2, "UpsamplingNearest2d": 4 * 1}  # at four times the elements


def test_a_linear_layer_costs_its_matrix_and_its_bias_nothing():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))
    counts = count(network, (8, 8))
    assert counts.macs == counts.layers[-1].macs_reference == 21
    assert counts.params == 28


def test_a_layer_used_twice_costs_twice_but_has_its_parameters_once():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 3, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(self.layer(x))

    counts = count(Twice(), (4, 4))
    assert (counts.params, counts.macs, len(counts.layers)) == (9, 2 * 9 * 16, 2)


def test_the_layers_add_up_and_cost_grows_with_the_area():
    network = models.build("litepose_xs", num_keypoints=17)
    small, large = count(network, (256, 256)), count(network, (512, 256))
    for counts in (small, large):
        assert sum(layer.macs for layer in counts.layers) == counts.macs
        assert sum(layer.params for layer in counts.layers) == counts.params == 1_675_912
    assert large.macs == 2 * small.macs
    assert large.macs_reference == 2 * small.macs_reference


def test_counting_changes_neither_weights_nor_mode():
    network = models.build("litepose_xs", num_keypoints=14)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    count(network, (64, 64))
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_folding_removes_the_cost_of_batchnorm_and_no_multiplication():
    network = models.build("litepose_xs", num_keypoints=14)
    plain, fused = count(network, (256, 256)), count(fuse_batchnorm(network), (256, 256))
    batchnorm = sum(layer.macs_reference for layer in plain.layers if layer.kind == "BatchNorm2d")
    assert fused.macs == plain.macs == 882_892_800
    assert fused.macs_reference == plain.macs_reference - batchnorm // 2  # instead of 2 an element the bias's 1


def test_a_rule_that_does_not_exist_is_answered_with_the_nearest():
    with pytest.raises(SettingError, match="Did you mean 'torchstat'"):
        count(nn.Conv2d(3, 8, 1), (8, 8), rule="torchstats")


@pytest.mark.parametrize("name", models.names())
def test_every_family_names_a_rule(name):
    assert rule_of(name) in RULES


def test_hrnets_summary_counts_weights_only_and_deconvolutions_at_their_outputs():
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1)
    )
    counts = count(network, (10, 6), rule="lpn")
    convolution, deconvolution = 60 * 8 * 3 * 9, 240 * 8 * 8 * 16
    assert counts.macs_reference == convolution + deconvolution
    assert counts.macs == convolution + deconvolution // 4


def test_torchstat_counts_elements_of_leaf_modules():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1)
    )
    kinds = {layer.kind: layer.macs_reference for layer in count(network, (8, 6), rule="torchstat").layers}
    assert kinds == {
        "Conv2d": 48 * 12 + 48 * 4,  # weights and biases
        "BatchNorm2d": 2 * 48 * 4,
        "ReLU": 48 * 4,
        "Upsample": 16 * 12,  # without the channels
        "AdaptiveAvgPool2d": 4 * (12 + 1) * (16 + 1),
    }


def test_torchstat_keeps_the_last_call_of_a_module_that_is_called_twice():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.relu(self.relu(x)[..., ::2])

    assert count(Shared(), (8, 6), rule="torchstat").macs_reference == 3 * 6 * 4
    assert count(Shared(), (8, 6)).macs_reference == 2 * (3 * 6 * 8 + 3 * 6 * 4)


# Input (w, h), keypoints, true MACs in 10^6, by the authors' tool in 2^20, as the authors printed it.
LITEHRNET = [
    ("litehrnet_18", (192, 256), 17, 198.627, 205.23, 205.2),
    ("litehrnet_18", (288, 384), 17, 446.778, 461.56, 461.6),
    ("litehrnet_30", (192, 256), 17, 309.451, 319.20, 319.2),
    ("litehrnet_30", (288, 384), 17, 696.047, 717.84, 717.8),
    ("litehrnet_naive_18", (192, 256), 17, 185.518, 194.76, 194.8),
    ("litehrnet_naive_18", (288, 384), 17, 417.415, 438.20, None),
    ("litehrnet_wider_naive_18", (192, 256), 17, 302.332, 311.05, 311.1),
    ("litehrnet_wider_naive_18", (288, 384), 17, 680.246, 699.87, None),
    ("litehrnet_18", (256, 256), 16, 264.637, 273.43, 273.4),
    ("litehrnet_30", (256, 256), 16, 412.380, 425.34, 425.3),
    ("litehrnet_naive_18", (256, 256), 16, 247.234, 259.55, 259.6),
    ("litehrnet_wider_naive_18", (256, 256), 16, 402.945, 414.58, 418.7),
]


@pytest.mark.parametrize(("name", "size", "num_keypoints", "true", "tool", "printed"), LITEHRNET)
def test_lite_hrnet_costs_what_its_authors_printed(name, size, num_keypoints, true, tool, printed):
    with torch.device("meta"):
        network = models.build(name, num_keypoints=num_keypoints)
    counts = count(network, size, rule=rule_of(name))
    assert counts.macs / 1e6 == pytest.approx(true, abs=0.0005)
    assert counts.macs_reference / 2**20 == pytest.approx(tool, abs=0.005)
    if printed is not None:
        figures = models.family_of(name).PUBLISHED[name][num_keypoints]["sizes"][size]
        assert figures["macs"] / 2**20 == pytest.approx(printed, abs=1e-6)
        if printed != 418.7:  # probably a misprint; the other nine agree
            assert RULES["torchstat"].printed(counts.macs_reference) == f"{printed} M (M = 2^20)"


def test_counts_are_printed_in_the_authors_units():
    assert RULES["litepose"].printed(1_203_593_216) == "1.20 G (G = 10^9)"
    assert RULES["lpn"].printed(1_082_300_416) == "1.01 G (G = 2^30)"
    assert RULES["torchstat"].printed(215_202_112) == "205.2 M (M = 2^20)"
