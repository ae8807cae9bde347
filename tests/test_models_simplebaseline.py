"""SimpleBaseline beyond the parity numbers: what it costs, how it starts, its trunks under torchvision's names."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from litepose import checkpoints, models
from litepose.counting import count
from litepose.errors import SettingError
from litepose.importing import rename
from litepose.models.light_trunks import HalvingUnit, ShuffleUnit
from litepose.models.simplebaseline import OFFICIAL_KEYS, PUBLISHED
from litepose.skeleton import COCO17

CONV = ("weight",)
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def on_meta(name: str, num_keypoints: int = 17) -> nn.Module:
    with torch.device("meta"):
        return models.build(name, num_keypoints=num_keypoints)


@pytest.mark.parametrize(
    ("name", "params", "macs", "as_printed"),
    [
        # Trunks of 18 and 34 layers: the parameters of torchvision's resnets without fc, plus the head.
        ("simplebaseline_18", 11_176_512 + 4_200_209, None, None),
        ("simplebaseline_34", 21_284_672 + 4_200_209, None, None),
        ("simplebaseline_50", 33_999_697, 5_426_380_800, 9_654_239_232),
        ("simplebaseline_101", 52_991_825, 9_062_842_368, 13_290_700_800),
        ("simplebaseline_152", 68_635_473, 12_699_303_936, 16_927_162_368),
        ("simplebaseline_mobilenetv2", 9_569_809, None, None),
        ("simplebaseline_shufflenetv2", 7_550_965, 1_362_276_480, None),
    ],
)
def test_a_variant_costs_what_is_known_of_it(name, params, macs, as_printed):
    counts = count(on_meta(name), checkpoints.default_spec(name, COCO17).input.size)
    assert counts.params == params
    if macs is not None:
        assert counts.macs == macs
    if as_printed is not None:
        deconvs = sum(layer.macs for layer in counts.layers if layer.kind == "ConvTranspose2d")
        assert counts.macs + 3 * deconvs == as_printed  # each at its outputs: 4 times as many positions
        printed = PUBLISHED[name][17]["sizes"][192, 256]["macs"]
        assert abs(as_printed - printed) < 0.1 * 2**30  # one decimal, some of them cut off


def test_fresh_weights_are_small_and_normal():
    network = models.build("simplebaseline_shufflenetv2", num_keypoints=17)
    weights = torch.cat(
        [m.weight.flatten() for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    )
    assert weights.std().item() == pytest.approx(0.001, rel=0.01)
    assert network.head.bias.abs().max() > 0.01  # as PyTorch draws it


def test_half_its_stride_gives_no_quarter_of_the_input():
    network = models.build("simplebaseline_shufflenetv2", num_keypoints=3).eval()
    network.input_stride = 16
    with torch.no_grad():
        (heatmaps,) = network(torch.zeros(1, 3, 48, 80))
    assert tuple(heatmaps.shape) == (1, 3, 16, 24)  # not (12, 20)


def test_a_shuffle_unit_keeps_the_first_half_at_even_channels():
    unit = ShuffleUnit(8).eval()
    x = torch.randn(1, 8, 4, 4)
    with torch.no_grad():
        y = unit(x)
        assert torch.equal(y[:, 0::2], x[:, :4])
        assert torch.equal(y[:, 1::2], unit.changed(x[:, 4:]))


def test_a_halving_unit_interleaves_two_ways_through_all_channels():
    unit = HalvingUnit(6, 8).eval()
    x = torch.randn(1, 6, 4, 6)
    with torch.no_grad():
        y = unit(x)
        assert tuple(y.shape) == (1, 8, 2, 3)
        assert torch.equal(y[:, 0::2], unit.short(x))
        assert torch.equal(y[:, 1::2], unit.changed(x))


def test_unknown_trunks_are_refused():
    with pytest.raises(SettingError, match="Did you mean 'resnet_50'"):
        models.build("simplebaseline_50", num_keypoints=17, trunk="resnet50")


# --- torchvision's names: a start from ImageNet weights ---


def mobilenet_names() -> list[str]:
    """All tensors of torchvision's mobilenet_v2 but the classifier's: pairs of convolution and norm, some nested."""
    pairs = [("features.0.0", "features.0.1"), ("features.1.conv.0.0", "features.1.conv.0.1")]
    pairs.append(("features.1.conv.1", "features.1.conv.2"))
    for block in range(2, 18):
        at = f"features.{block}.conv"
        pairs += [(f"{at}.0.0", f"{at}.0.1"), (f"{at}.1.0", f"{at}.1.1"), (f"{at}.2", f"{at}.3")]
    return named([*pairs, ("features.18.0", "features.18.1")])


def shufflenet_names() -> list[str]:
    """All tensors of torchvision's shufflenet_v2_x1_0 but the classifier's."""
    pairs = [("conv1.0", "conv1.1"), ("conv5.0", "conv5.1")]
    for stage, units in ((2, 4), (3, 8), (4, 4)):
        for unit in range(units):
            at = f"stage{stage}.{unit}"
            if unit == 0:
                pairs += [(f"{at}.branch1.{i}", f"{at}.branch1.{i + 1}") for i in (0, 2)]
            pairs += [(f"{at}.branch2.{i}", f"{at}.branch2.{i + 1}") for i in (0, 3, 5)]
    return named(pairs)


def resnet_names() -> list[str]:
    """All tensors of torchvision's resnet18 but the classifier's."""
    pairs = [("conv1", "bn1")]
    for stage in range(1, 5):
        for block in range(2):
            pairs += [(f"layer{stage}.{block}.conv{i}", f"layer{stage}.{block}.bn{i}") for i in (1, 2)]
        if stage > 1:
            pairs.append((f"layer{stage}.0.downsample.0", f"layer{stage}.0.downsample.1"))
    return named(pairs)


def named(pairs: list[tuple[str, str]]) -> list[str]:
    return [f"{at}.{leaf}" for pair in pairs for at, leaves in zip(pair, (CONV, NORM), strict=True) for leaf in leaves]


@pytest.mark.parametrize(
    ("model", "names", "count_of_torchvision"),
    [
        ("simplebaseline_18", resnet_names(), 122),
        ("simplebaseline_mobilenetv2", mobilenet_names(), 314),
        ("simplebaseline_shufflenetv2", shufflenet_names(), 338),
    ],
)
def test_every_trunk_tensor_has_a_name_in_torchvision(model, names, count_of_torchvision):
    assert len(names) == count_of_torchvision - 2  # the classifier's weight and bias
    ours = rename({name: torch.empty(0) for name in names}, OFFICIAL_KEYS, source="official")
    assert set(ours) == {name for name in on_meta(model).state_dict() if name.startswith("trunk.")}


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("features.3.conv.0.1.running_mean", "trunk.stages.1.1.expand.norm.running_mean"),
        ("features.17.conv.2.weight", "trunk.stages.6.0.project.conv.weight"),
        ("stage3.5.branch2.3.weight", "trunk.stages.1.5.changed.1.conv.weight"),
        ("layer4.1.bn2.bias", "trunk.stages.3.1.convs.1.norm.bias"),
    ],
)
def test_a_torchvision_name_is_the_part_of_the_same_place(theirs, ours):
    assert list(rename({theirs: torch.empty(0)}, OFFICIAL_KEYS, source="official")) == [ours]
