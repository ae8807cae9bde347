"""Networks rewritten for engines are the same function; their graphs hold nothing that engines are slow at."""

from __future__ import annotations

import onnx
import pytest
import torch
from torch import nn

from contracts.test_families import with_statistics
from litepose import checkpoints, models
from litepose.export import export_onnx
from litepose.export_litehrnet import ALIGNMENT, FixedLiteHRNet, Places
from litepose.export_rewrites import DepthToSpace, MergedDeconv, PhasedDeconv, optimised_for_export
from litepose.models.layers import DeconvNorm, FusionDeconv
from litepose.skeleton import COCO17

DOUBLE = 1e-9  # of the largest output: float64 through some hundred layers

REWRITTEN = ("lpn_50", "simplebaseline_mobilenetv2", "litehrnet_18", "litehrnet_naive_18", "litepose_xs")
ENGINES = ("onnx", "openvino", "ncnn", "litert")


def network_of(name: str, **settings) -> nn.Module:
    torch.set_num_threads(1)
    network = with_statistics(models.build(name, num_keypoints=5, **settings))
    for module in network.modules():  # initial weights of 0.001 would leave nothing but biases
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        elif name.startswith("litehrnet") and isinstance(module, nn.BatchNorm2d):
            module.weight.data *= 0.4  # its sums would grow to 1e9 and saturate every sigmoid
    return network.double().eval()


def assert_same_function(network: nn.Module, rewritten: nn.Module, size: tuple[int, int]) -> None:
    images = torch.randn(2, 3, size[1], size[0], dtype=torch.float64)
    with torch.no_grad():
        for wanted, found in zip(network(images), rewritten(images), strict=True):
            assert float(wanted.std()) > 0
            assert float((wanted - found).abs().max()) <= DOUBLE * float(wanted.abs().max())


@pytest.mark.parametrize("name", REWRITTEN)
@pytest.mark.parametrize(("size", "engine"), [((32, 64), "onnx"), *(((96, 64), engine) for engine in ENGINES)])
def test_a_rewritten_network_computes_the_same(name, size, engine):
    network = network_of(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    rewritten = optimised_for_export(network, size, engine)
    assert not rewritten.training
    assert_same_function(network, rewritten, size)
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("settings", [{"channels": 10}, {"channels": 12, "depths": (1, 2, 1)}, {"block": "naive"}])
def test_lite_hrnet_of_any_widths_computes_the_same(settings):
    """Halves and hidden layers of widths that no engine likes, and odd ones."""
    network = network_of("litehrnet_18", **settings)
    assert_same_function(network, FixedLiteHRNet(network, (64, 32)), (64, 32))


@pytest.mark.parametrize("attention", ["gc", "se", "none"])
def test_lpn_of_any_attention_computes_the_same(attention):
    network = network_of("lpn_50", attention=attention)
    assert_same_function(network, optimised_for_export(network, (32, 32)), (32, 32))


@pytest.mark.parametrize(("in_channels", "out_channels", "groups"), [(6, 4, 1), (6, 6, 6), (12, 4, 4), (8, 12, 4)])
def test_a_phased_deconvolution_is_the_deconvolution_with_what_follows(in_channels, out_channels, groups):
    torch.manual_seed(0)
    layer = with_statistics(DeconvNorm(in_channels, out_channels, groups=groups)).double().eval()
    pointwise = nn.Conv2d(out_channels, 3, 1).double()
    x = torch.randn(2, in_channels, 5, 3, dtype=torch.float64)
    with torch.no_grad():
        wanted = pointwise(layer(x))
        layer.fold_norm()
        found = PhasedDeconv(layer.deconv, [pointwise])(x)
    assert wanted.shape == found.shape == (2, 3, 10, 6)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)  # float64, a few sums


@pytest.mark.parametrize("kernel", [4, 3, 2])
@pytest.mark.parametrize("phased", [False, True])
def test_a_merged_deconvolution_is_the_sum_of_two(kernel, phased):
    torch.manual_seed(0)
    fusion = with_statistics(FusionDeconv(6, 4, 5, kernel=kernel)).double().eval()
    x, raw = (torch.randn(2, channels, 5, 3, dtype=torch.float64) for channels in (6, 4))
    with torch.no_grad():
        wanted = fusion(x, raw)
        fusion.fold_norm()
        found = MergedDeconv(fusion, phased=phased)(x, raw)
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=0)  # float64, a few sums


def test_depth_to_space_lays_a_square_row_by_row():
    x = torch.tensor([1.0, 10, 2, 20, 3, 30, 4, 40]).reshape(1, 8, 1, 1)  # channels 1 and 10 of four phases
    assert DepthToSpace.apply(x).tolist() == [[[[1, 2], [3, 4]], [[10, 20], [30, 40]]]]


def test_a_shuffle_moves_places_and_no_channel():
    places = Places.in_order(6)
    assert places.width == ALIGNMENT
    assert places.shuffled().index.tolist() == [0, 3, 1, 4, 2, 5]  # logical channel 1 is what lay at 3
    kept, changed = places.shuffled().halves()
    assert (kept.index.tolist(), changed.index.tolist()) == ([0, 3, 1], [4, 2, 5])
    both = Places.concatenated([places, kept])
    assert both.index.tolist() == [*range(6), ALIGNMENT, ALIGNMENT + 3, ALIGNMENT + 1] and both.width == 2 * ALIGNMENT


# What must not stand in a graph -> of which networks.
SLOW = {
    "litehrnet_18": {"Split", "Slice", "Transpose", "Reshape", "Pad"},
    "lpn_50": {"ConvTranspose", "Pad"},
    "litepose_xs": {"ConvTranspose", "Pad", "Slice", "Reshape"},
    "higherhrnet_w16_shrink3": {"ConvTranspose", "Pad"},
    "simplebaseline_mobilenetv2": {"ConvTranspose", "Pad", "Slice", "Reshape"},
}


@pytest.mark.parametrize("name", SLOW)
def test_what_is_slow_is_not_in_the_graph_unless_a_plain_one_is_asked(name, tmp_path):
    settings = {"depths": (1, 1, 1)} if name.startswith("litehrnet") else {}
    spec = checkpoints.default_spec(name, COCO17, **settings)
    network = with_statistics(checkpoints.build_network(spec)).eval()
    kinds = {}
    for plain in (False, True):
        report = export_onnx(network, spec, tmp_path / f"{plain}.onnx", size=(64, 64), plain=plain)
        kinds[plain] = {node.op_type for node in onnx.load(str(report.path)).graph.node}
    assert not kinds[False] & SLOW[name]
    assert kinds[True] & SLOW[name]
