"""Depthwise convolutions cut into parts are the same function, and no part has more taps than the engine's kernels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from litepose import models
from litepose.export_rewrites import optimised_for_export
from litepose.export_tiles import MAX_TAPS, TiledDepthwise, tiled, tiles


@pytest.mark.parametrize("kernel", [(7, 7), (9, 9), (7, 5), (11, 12)])
def test_every_tap_is_in_one_part_and_no_part_is_too_large(kernel):
    parts = tiles(*kernel)
    taps = sorted((row, column) for rows, columns in parts for row in rows for column in columns)
    assert taps == [(row, column) for row in range(kernel[0]) for column in range(kernel[1])]
    assert all(len(rows) * len(columns) <= MAX_TAPS for rows, columns in parts)
    for rows, columns in parts:  # around the middle: padding is symmetric
        assert rows[0] + rows[-1] == kernel[0] - 1 and columns[0] + columns[-1] == kernel[1] - 1


def test_a_kernel_of_seven_by_seven_costs_two_kernels_of_25_taps_and_one_of_9():
    assert [len(rows) * len(columns) for rows, columns in tiles(7, 7)] == [21, 20, 8]


@pytest.mark.parametrize("kernel", [(7, 7), (9, 9), (7, 5)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_the_parts_sum_up_to_the_convolution(kernel, stride, bias):
    torch.manual_seed(0)
    padding = (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(6, 6, kernel, stride=stride, padding=padding, groups=6, bias=bias).double()
    x = torch.randn(2, 6, 20, 14, dtype=torch.float64)
    cut = tiled(nn.Sequential(conv))
    assert isinstance(cut[0], TiledDepthwise)
    with torch.no_grad():
        torch.testing.assert_close(cut(x), conv(x), atol=1e-12, rtol=0)  # float64, 49 products


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(6, 6, 5, padding=2, groups=6),
        nn.Conv2d(6, 6, 7, padding=3),
        nn.Conv2d(6, 6, 7, padding=3, groups=3),
        nn.Conv2d(6, 6, 7, groups=6),
        nn.Conv2d(6, 6, (3, 13), padding=(1, 6), groups=6),
    ],
)
def test_what_fits_or_is_no_depthwise_convolution_is_left_alone(conv):
    assert tiled(nn.Sequential(conv))[0] is conv


def test_litepose_for_litert_has_no_wide_depthwise_convolution():
    network = optimised_for_export(models.build("litepose_xs", num_keypoints=14), (256, 256), "litert")
    convs = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    wide = [conv for conv in convs if conv.groups > 1 and conv.kernel_size[0] * conv.kernel_size[1] > MAX_TAPS]
    assert not wide and sum(isinstance(module, TiledDepthwise) for module in network.modules()) == 34
