"""LPN beyond the parity numbers: what it costs, how it starts, what its attention does, impossible settings."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from litepose import checkpoints, models
from litepose.counting import count
from litepose.errors import SettingError
from litepose.models.layers import DeconvNorm
from litepose.models.lpn import PUBLISHED, GlobalContext, SqueezeExcitation
from litepose.skeleton import COCO17, MPII16


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def contexts(network: nn.Module) -> list[GlobalContext]:
    return [module for module in network.modules() if isinstance(module, GlobalContext)]


@pytest.mark.parametrize(
    ("name", "skeleton", "size", "params", "macs", "as_authors_count"),
    [
        ("lpn_50", COCO17, (192, 256), 2_911_153, 1_068_144_640, 1_082_300_416),
        ("lpn_50", MPII16, (256, 256), 2_910_896, 1_423_087_616, 1_441_961_984),
        ("lpn_101", COCO17, (192, 256), 5_353_458, 1_504_458_752, 1_518_614_528),
        ("lpn_152", COCO17, (192, 256), 7_377_459, 1_942_722_560, 1_956_878_336),
    ],
)
def test_a_variant_costs_what_is_known_of_it(name, skeleton, size, params, macs, as_authors_count):
    with torch.device("meta"):
        network = checkpoints.build_network(checkpoints.default_spec(name, skeleton))
    counts = count(network, size)
    assert (counts.params, counts.macs) == (params, macs)
    deconvs = sum(layer.macs for layer in counts.layers if layer.kind == "ConvTranspose2d")
    assert macs + 3 * deconvs == as_authors_count  # each deconvolution at its outputs: 4 times as many positions
    published = PUBLISHED[name][skeleton.num_keypoints]["sizes"][size]["macs"]
    assert 0 <= as_authors_count - published < 0.1 * 2**30  # printed with one decimal, some of them cut off


@pytest.mark.parametrize(("attention", "params"), [("gc", 2_911_153), ("se", 2_902_673), ("none", 2_732_689)])
def test_attention_is_a_choice_of_three(attention, params):
    with torch.device("meta"):
        network = models.build("lpn_50", num_keypoints=17, attention=attention)
    assert sum(parameter.numel() for parameter in network.parameters()) == params


def test_fresh_weights_are_small_and_normal_also_in_the_global_context():
    network = models.build("lpn_50", num_keypoints=17)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    weights = torch.cat([module.weight.flatten() for module in convolutions])
    assert weights.std().item() == pytest.approx(0.001, rel=0.01)
    assert abs(weights.mean().item()) < 1e-5
    for context in contexts(network):
        assert context.expand.weight.abs().max() > 0
        assert not context.mask.bias.any()
        assert not context.expand.bias.any()
        assert context.reduce.bias.abs().max() > 0.01  # as PyTorch draws it
    assert network.head.bias.abs().max() > 0.01


def test_the_other_start_is_pytorchs_own_with_contexts_that_change_nothing():
    network = models.build("lpn_50", num_keypoints=16, init="torch")
    x = torch.randn(1, 256, 6, 4)
    wide = [context for context in contexts(network) if context.mask.in_channels == 256]
    assert len(wide) == 6
    for context in wide:
        assert torch.equal(context(x), x)
    masks = torch.cat([context.mask.weight.flatten() for context in wide])
    assert masks.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.1)  # 1,536 draws
    bound = network.stem[0].conv.weight.abs().max().item()
    assert bound == pytest.approx((3 * 49) ** -0.5, rel=0.01)  # uniform, 1 / sqrt(fan in)


def test_a_global_context_adds_one_vector_made_of_the_pixels_that_its_mask_points_at():
    context = GlobalContext(32)
    nn.init.normal_(context.expand.weight)
    with torch.no_grad():
        context.mask.weight.zero_()
        context.mask.weight[0, 0] = 100.0
        x = torch.randn(1, 32, 3, 5)
        x[:, 0] = 0
        x[:, 0, 1, 2] = 1  # the softmax sees this pixel alone
        added = context(x) - x
        wanted = context.expand(torch.relu(context.norm(context.reduce(x[:, :, 1:2, 2:3]))))
        x[:, 1:, 0, 0] += 9  # elsewhere
        same = context(x) - x
    torch.testing.assert_close(added, wanted.expand_as(added), atol=1e-5, rtol=1e-5)  # float32 of a difference
    torch.testing.assert_close(same, added, atol=1e-5, rtol=1e-5)


def test_a_global_context_exports_without_computing_shapes(tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "context.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its successor
        torch.onnx.export(
            GlobalContext(32).eval(), (torch.randn(1, 32, 3, 5),), str(path), opset_version=17, dynamo=False
        )
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "LayerNormalization" in kinds
    assert not kinds & {"Shape", "Gather", "Slice"}


def test_squeeze_and_excitation_scales_channels_by_what_their_means_say():
    attention = SqueezeExcitation(64)
    assert attention.reduce.out_features == 16
    with torch.no_grad():
        attention.reduce.weight.zero_()
        attention.reduce.weight[0, 5] = 1.0
        attention.expand.weight.zero_()
        attention.expand.weight[7, 0] = 2.0
        x = torch.ones(1, 64, 2, 2)
        scale = attention(x)[0, :, 0, 0]
    assert scale[7].item() == pytest.approx(1 / (1 + 2.718281828**-2))
    assert scale[[0, 5, 63]].tolist() == [0.5, 0.5, 0.5]


def test_half_its_stride_gives_no_quarter_of_the_input():
    network = models.build("lpn_50", num_keypoints=3).eval()
    network.input_stride = 8
    with torch.no_grad():
        (heatmaps,) = network(torch.zeros(1, 3, 24, 40))
    assert tuple(heatmaps.shape) == (1, 3, 8, 12)  # not (6, 10)


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_a_grouped_deconvolution_folds(groups):
    deconv = DeconvNorm(16, 8, groups=groups).double().eval()
    nn.init.uniform_(deconv.norm.weight, 0.5, 1.5)
    nn.init.normal_(deconv.norm.bias)
    deconv.norm.running_mean.normal_()
    deconv.norm.running_var.uniform_(0.5, 1.5)
    x = torch.randn(1, 16, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        wanted = deconv(x)
        deconv.fold_norm()
        torch.testing.assert_close(deconv(x), wanted, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"attention": "gcc"}, "Did you mean 'gc'"),
        ({"attention": None}, "Possible: gc, none, se"),
        ({"init": "kaiming"}, "normal, torch"),
        ({"blocks": (3, 4, 6)}, "4 stages"),
    ],
)
def test_impossible_settings_are_refused(setting, words):
    with pytest.raises(SettingError, match=words):
        models.build("lpn_50", num_keypoints=17, **setting)


def test_its_maps_are_read_by_the_authors_soft_argmax():
    codec = checkpoints.default_spec("lpn_50", COCO17).codec
    assert (codec.name, codec.refinement, codec.beta, codec.bias_px) == ("heatmap", "soft_argmax", 160, 0)
