"""Parameters and MACs of layers whose cost can be worked out by hand."""

from __future__ import annotations

import torch
from torch import nn

from litepose import models
from litepose.counting import count
from litepose.models.layers import fuse_batchnorm


def test_a_convolution_costs_its_kernel_at_each_output_position():
    counts = count(nn.Conv2d(3, 8, 5, stride=2, padding=2, bias=True), (32, 16))
    assert counts.params == 8 * 3 * 25 + 8
    assert counts.macs == counts.macs_reference == (16 * 8) * 8 * 3 * 25
    assert counts.layers[0].output_shape == (8, 8, 16)


def test_a_depthwise_convolution_costs_one_kernel_for_each_channel():
    network = nn.Sequential(nn.Conv2d(3, 6, 1, bias=False), nn.Conv2d(6, 6, 7, padding=3, groups=6, bias=False))
    pointwise, depthwise = count(network, (10, 4)).layers
    assert (pointwise.macs, depthwise.macs) == (40 * 18, 40 * 6 * 49)


def test_a_deconvolution_costs_its_kernel_at_each_input_position_and_by_the_reference_at_each_output():
    counts = count(nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1, bias=False), (16, 8))
    assert counts.macs == (16 * 8) * 3 * 5 * 16
    assert counts.macs_reference == 4 * counts.macs


def test_the_reference_charges_two_for_batchnorm_one_for_relu6_two_for_relu():
    elements = 3 * 8 * 4
    costs = {}
    for layer in (nn.BatchNorm2d(3), nn.ReLU6(), nn.ReLU(), nn.Identity()):
        counts = count(nn.Sequential(layer), (8, 4))
        assert counts.macs == 0
        costs[type(layer).__name__] = counts.macs_reference / elements
    assert costs == {"BatchNorm2d": 2, "ReLU6": 1, "ReLU": 2, "Identity": 0}


def test_a_linear_layer_costs_its_matrix_and_its_bias_nothing():
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 7))
    counts = count(network, (8, 8))
    assert counts.macs == counts.macs_reference == 21
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
    assert fused.macs_reference == plain.macs_reference - batchnorm
