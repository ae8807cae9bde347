"""LitePose beyond the parity numbers: architectures, outputs, broken arch files, readiness for slicing."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor

from litepose import models
from litepose.errors import ModelError, SettingError
from litepose.models.layers import make_divisible
from litepose.models.litepose import VARIANTS, arch_from_json, arch_to_json, uniform_arch

XS = VARIANTS["litepose_xs"]["arch"]
# Depths, widths, kernels and expansions all different from the variants'.
MIXED = {
    "img_size": 320,
    "input_channel": 24,
    "deconv_setting": [40, 16, 8],
    "backbone_setting": [
        {"num_blocks": 1, "stride": 2, "channel": 8, "block_setting": [[4, 3]]},
        {"num_blocks": 2, "stride": 2, "channel": 24, "block_setting": [[6, 7], [3, 5]]},
        {"num_blocks": 3, "stride": 2, "channel": 16, "block_setting": [[1, 7], [2, 3], [6, 9]]},
        {"num_blocks": 1, "stride": 1, "channel": 32, "block_setting": [[5, 5]]},
    ],
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def shapes(network: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def test_the_widths_depths_kernels_and_expansions_of_an_arch_are_honoured():
    found = shapes(models.build("litepose_xs", num_keypoints=5, arch=MIXED))
    assert found["stem.2.conv.weight"] == (24, 32, 1, 1)
    assert found["stages.0.0.depthwise.conv.weight"] == (96, 1, 3, 3)
    assert found["stages.1.0.expand.conv.weight"] == (48, 8, 1, 1)
    assert found["stages.1.1.depthwise.conv.weight"] == (72, 1, 5, 5)
    assert found["stages.2.2.depthwise.conv.weight"] == (96, 1, 9, 9)
    assert found["stages.3.0.project.conv.weight"] == (32, 80, 1, 1)
    assert found["deconvs.0.refined.weight"] == (32, 40, 4, 4)
    assert found["deconvs.0.raw.weight"] == (16, 40, 4, 4)
    assert found["heads.0.raw.pointwise.weight"] == (10, 8, 1, 1)
    assert not any(name.startswith(("stages.0.1", "stages.2.3", "stages.4")) for name in found)


def test_a_mixed_arch_computes_finite_maps_of_the_right_size():
    torch.manual_seed(0)
    network = models.build("litepose_xs", num_keypoints=5, arch=MIXED).eval()
    with torch.no_grad():
        coarse, fine = network(torch.randn(1, 3, 48, 80))
    assert (coarse.shape, fine.shape) == ((1, 10, 12, 20), (1, 5, 24, 40))
    assert bool(coarse.isfinite().all()) and bool(fine.isfinite().all())
    assert float(coarse.std()) > 0 and float(fine.std()) > 0


def test_arch_files_load_and_save_as_they_are(tmp_path):
    path = tmp_path / "search-XS.json"
    for arch in (MIXED, XS):
        path.write_text(json.dumps(arch))
        read = models.read_arch(path)
        assert arch_to_json(arch_from_json(read)) == read == arch


@pytest.mark.parametrize(
    ("settings", "channels"),
    [
        ({}, (28, 14)),
        ({"center_keypoint": True}, (30, 15)),
        ({"tag_per_keypoint": False}, (15, 14)),
        ({"tag_per_keypoint": False, "center_keypoint": True}, (16, 15)),
        ({"tag_outputs": (True, True)}, (28, 28)),
        ({"tag_outputs": (False, True), "heatmap_outputs": (True, False)}, (14, 14)),
        ({"heatmap_outputs": [False, True]}, (14, 14)),
    ],
)
def test_outputs_hold_the_heatmaps_and_tags_that_were_asked_for(settings, channels):
    network = models.build("litepose_xs", num_keypoints=14, arch=MIXED, **settings).eval()
    with torch.no_grad():
        outputs = network(torch.zeros(1, 3, 32, 32))
    assert tuple(y.shape[1] for y in outputs) == network.output_channels == channels


@pytest.mark.parametrize("kernels", [(4, 4, 4), (3, 3, 3), (2, 2, 2), (2, 3, 4)])
def test_every_deconvolution_kernel_doubles_the_map(kernels):
    network = models.build("litepose_xs", num_keypoints=4, arch=MIXED, deconv_kernels=kernels).eval()
    assert [deconv.refined.kernel_size[0] for deconv in network.deconvs] == list(kernels)
    with torch.no_grad():
        outputs = network(torch.zeros(1, 3, 64, 48))
    assert [tuple(y.shape[2:]) for y in outputs] == [(16, 12), (32, 24)]


def test_the_simple_head_has_no_raw_branch():
    names = list(shapes(models.build("litepose_xs", num_keypoints=14, simple_head=True)))
    assert not [name for name in names if ".raw." in name]
    assert len(names) == 662  # as the authors' simplenet


def changed(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(MIXED), **changes}


def stage_changed(index: int, **changes: Any) -> dict[str, Any]:
    arch = copy.deepcopy(MIXED)
    arch["backbone_setting"][index].update(changes)
    return arch


BAD_ARCHS = {
    "no object": ([], "must be a JSON object"),
    "empty": ({}, "lacks 'img_size'"),
    "misspelt": (changed(imgsize=3), "no field 'imgsize'.*img_size"),
    "two deconvolutions": (changed(deconv_setting=[8, 8]), "3 widths in deconv_setting"),
    "no list": (changed(deconv_setting=8), "3 widths in deconv_setting"),
    "negative width": (changed(deconv_setting=[8, -8, 8]), r"deconv_setting\[1\].*positive"),
    "half width": (changed(input_channel=7.5), "input_channel.*whole number"),
    "true": (changed(input_channel=True), "input_channel.*whole number"),
    "odd size": (changed(img_size=250), "multiple of 16"),
    "text size": (changed(img_size="256"), "img_size.*whole number"),
    "three stages": (changed(backbone_setting=MIXED["backbone_setting"][:3]), "4 stages.*found 3"),
    "stage no object": (changed(backbone_setting=[1, 2, 3, 4]), r"backbone_setting\[0\] must be a JSON object"),
    "stage lacks": (changed(backbone_setting=[{}] * 4), r"backbone_setting\[0\] lacks 'num_blocks'"),
    "stride": (stage_changed(3, stride=2), r"backbone_setting\[3\] has stride 2.*only 1"),
    "depth": (stage_changed(1, num_blocks=3), "num_blocks 3"),
    "no blocks": (stage_changed(0, num_blocks=0, block_setting=[]), "num_blocks.*positive"),
    "even kernel": (stage_changed(0, block_setting=[[6, 4]]), "odd kernel"),
    "zero expansion": (stage_changed(0, block_setting=[[0, 7]]), "positive expansion"),
    "block of three": (stage_changed(0, block_setting=[[6, 7, 1]]), r"\[expansion, kernel\]"),
    "block of text": (stage_changed(0, block_setting=[["6", "7"]]), r"\[expansion, kernel\]"),
}


@pytest.mark.parametrize("name", BAD_ARCHS)
def test_a_bad_arch_is_named_by_its_fault(name):
    arch, words = BAD_ARCHS[name]
    with pytest.raises(ModelError, match=words):
        models.build("litepose_xs", num_keypoints=14, arch=arch)


def test_arch_files_that_cannot_be_read_say_so(tmp_path):
    with pytest.raises(ModelError, match="No architecture file"):
        models.read_arch(tmp_path / "absent.json")
    for content, words in ((b"", "no JSON"), (b"{", "no JSON"), (b"\xff\xfe\x00", "no JSON"), (b"[1]", "found a list")):
        (tmp_path / "bad.json").write_bytes(content)
        with pytest.raises(ModelError, match=words):
            models.read_arch(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"deconv_kernels": (4, 4, 5)}, "No deconvolution kernel 5"),
        ({"deconv_kernels": (4, 4)}, "3 kernels"),
        ({"tag_outputs": (True,)}, "2 outputs"),
        ({"heatmap_outputs": (False, False), "tag_outputs": (True, False)}, "needs heatmaps or tags"),
        ({"simplehead": True}, "Did you mean 'simple_head'"),
    ],
)
def test_impossible_settings_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        models.build("litepose_xs", num_keypoints=14, **settings)


def test_hidden_widths_follow_mobilenets_rounding():
    assert [make_divisible(v) for v in (1, 8, 11, 12, 19, 20, 96, 100)] == [8, 8, 16, 16, 24, 24, 96, 104]


def test_initial_weights_are_pytorchs_own():
    torch.manual_seed(3)
    network = models.build("litepose_xs", num_keypoints=14, arch=MIXED)
    weight = network.stem[0].conv.weight
    bound = 1 / 27**0.5  # kaiming_uniform with a = sqrt(5): 1 / sqrt(fan in)
    assert float(weight.detach().abs().max()) <= bound
    assert float(weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.1)  # 864 draws
    assert all(
        float(v.min()) == float(v.max()) == 1 for n, v in network.state_dict().items() if n.endswith("norm.weight")
    )


def test_prefix_slices_of_a_wider_network_run_as_the_narrow_one():
    """A supernet cuts narrow networks as prefix boxes of the widest; the narrow one must accept them as they are."""
    torch.manual_seed(0)
    wide = models.build("litepose_prune_l", num_keypoints=14, arch=uniform_arch(64, 24, (16, 24, 32, 40), (24, 16, 16)))
    narrow_arch = uniform_arch(64, 16, (8, 16, 24, 24), (16, 8, 8))
    with torch.device("meta"):
        shell = models.build("litepose_xs", num_keypoints=14, arch=narrow_arch)
    views = {name: prefix(dict(wide.state_dict(keep_vars=True))[name], t) for name, t in shell.state_dict().items()}
    images = torch.randn(2, 3, 64, 64)
    outputs = torch.func.functional_call(shell.eval(), views, (images,))
    sum(y.square().mean() for y in outputs).backward()

    cut = models.build("litepose_xs", num_keypoints=14, arch=narrow_arch).eval()
    cut.load_state_dict({name: view.detach().clone() for name, view in views.items()})
    with torch.no_grad():
        for a, b in zip(outputs, cut(images), strict=True):
            assert torch.equal(a, b)
    weight = wide.stages[0][0].expand.conv.weight
    assert bool(weight.grad[:96, :16].any()) and not bool(weight.grad[96:].any())


def prefix(wide: Tensor, narrow: Tensor) -> Tensor:
    return wide[tuple(slice(0, n) for n in narrow.shape)]
