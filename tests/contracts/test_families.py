"""What every network family keeps; a new file in `models/` is picked up by itself."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from litepose import checkpoints, models
from litepose.codecs import CODECS
from litepose.errors import InputSizeError, ModelError, SettingError
from litepose.models.layers import FamilyDefault, PoseNetwork, fuse_batchnorm
from litepose.skeleton import COCO17, CROWDPOSE14, Skeleton
from litepose.spec import RESIZE_RULES, PoseSpec

DOUBLE = 1e-9  # float64 through some hundred layers


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def variants(family: str) -> list[str]:
    return [name for name in models.names() if models.family_of(name).__name__.endswith(f".{family}")]


def num_parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in models.build(name, num_keypoints=17).parameters())


# Where only the code matters, the cheapest variant of a family is enough.
SMALL = [min(variants(family), key=num_parameters) for family in models.families()]


@pytest.mark.parametrize("name", models.names())
def test_outputs_have_the_shapes_of_the_spec(name):
    spec = checkpoints.default_spec(name, COCO17)
    with torch.device("meta"):
        network = checkpoints.build_network(spec)
        sizes = ((64, 64), (64, 128), (192, 128)) if name in SMALL else ((192, 128),)
        for height, width in sizes:
            wanted = [(2, o.channels, height // o.stride, width // o.stride) for o in spec.outputs]
            outputs = network.train()(torch.empty(2, 3, height, width))
            assert isinstance(outputs, tuple)
            # What follows in train mode is for the loss alone: earlier stages, shaped as the outputs.
            assert [tuple(y.shape) for y in outputs] == wanted * (len(outputs) // len(wanted))
            assert [tuple(y.shape) for y in network.eval()(torch.empty(2, 3, height, width))] == wanted


@pytest.mark.parametrize("name", models.names())
def test_default_states_what_the_spec_needs(name):
    default = models.family_of(name).DEFAULT
    assert default.codec in CODECS
    assert default.resize in RESIZE_RULES
    assert len(set(default.outputs)) == len(default.outputs)
    width, height = default.sizes[name]
    assert width % models.family_of(name).NETWORK.input_stride == 0
    assert height % models.family_of(name).NETWORK.input_stride == 0


@pytest.mark.parametrize("name", models.names())
def test_spec_round_trip_builds_the_same_network(name):
    spec = checkpoints.default_spec(name, CROWDPOSE14)
    again = PoseSpec.from_json(spec.to_json())
    assert again == spec
    with torch.device("meta"):
        a, b = checkpoints.build_network(spec), checkpoints.build_network(again)
    assert {k: v.shape for k, v in a.state_dict().items()} == {k: v.shape for k, v in b.state_dict().items()}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("num_keypoints", [1, 14])
def test_a_gradient_reaches_every_parameter_that_learns(name, num_keypoints):
    torch.manual_seed(0)
    network = models.build(name, num_keypoints=num_keypoints)
    outputs = network(torch.randn(2, 3, 64, 128))
    sum(y.square().mean() for y in outputs).backward()
    learning = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    without = [n for n, p in learning if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", SMALL)
def test_training_moves_the_outputs_and_stays_finite(name):
    torch.manual_seed(0)
    network = models.build(name, num_keypoints=14)
    images = torch.randn(2, 3, 64, 64)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(4):
        loss = sum((y - 0.5).square().mean() for y in network(images))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", SMALL)
def test_a_picture_gives_the_same_maps_alone_and_in_a_batch(name):
    torch.manual_seed(0)
    network = models.build(name, num_keypoints=14).eval()
    images = torch.randn(3, 3, 64, 128)
    with torch.no_grad():
        together, alone = network(images), network(images[1:2])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, atol=1e-5, rtol=1e-4)  # float32, other convolution blocking


@pytest.mark.parametrize("name", SMALL)
def test_folding_changes_no_output_and_leaves_no_batchnorm(name):
    network = with_statistics(models.build(name, num_keypoints=14)).double().eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fused = fuse_batchnorm(network)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        for a, b in zip(network(images), fused(images), strict=True):
            assert float((a - b).abs().max()) <= DOUBLE * float(a.abs().max())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", SMALL)
def test_channels_last_and_bfloat16_compute_the_same_maps(name):
    torch.manual_seed(0)
    network = with_statistics(models.build(name, num_keypoints=14)).eval()
    images = torch.randn(1, 3, 64, 128)
    with torch.no_grad():
        wanted = network(images)
        last = network.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = network(images)
    for a, b, c in zip(wanted, last, rough, strict=True):
        scale = float(a.abs().max())
        assert float((a - b).abs().max()) < 1e-4 * scale  # float32, another order of sums
        assert float((a - c.float()).abs().mean()) < 0.1 * scale  # 8 bits of mantissa through the whole depth


@pytest.mark.parametrize("name", SMALL)
def test_sides_that_do_not_divide_are_refused_with_the_next_size(name):
    network = models.build(name, num_keypoints=14)
    stride = network.input_stride
    with pytest.raises(InputSizeError, match=f"{2 * stride}x{stride}"):
        network(torch.zeros(1, 3, stride, stride + 1))


@pytest.mark.parametrize("name", SMALL)
def test_any_number_of_keypoints_builds(name):
    with pytest.warns(UserWarning, match="no OKS sigmas"):
        skeleton = Skeleton("two", ("left_hand", "right_hand"))
    spec = checkpoints.default_spec(name, skeleton)
    assert spec.network["num_keypoints"] == 2
    for bad in (0, -1, 2.5):
        with pytest.raises(SettingError, match="num_keypoints"):
            models.build(name, num_keypoints=bad)


@pytest.mark.parametrize("name", models.names())
def test_a_misspelt_name_is_answered_with_the_nearest(name):
    with pytest.raises(ModelError, match=f"Did you mean '{name}'"):
        models.family_of(name.replace("_", "-"))


@pytest.mark.parametrize(
    "name", ["", "resnet_900", "layers", "layers_x", "litepose", "litepose_", "litepose_xxl", "../x"]
)
def test_unknown_names_list_what_is_possible(name):
    with pytest.raises(ModelError, match="litepose_xs"):
        models.build(name, num_keypoints=17)


@pytest.mark.parametrize("name", SMALL)
def test_unknown_settings_are_named(name):
    with pytest.raises(SettingError, match="num_keypoint_s"):
        models.build(name, num_keypoints=17, num_keypoint_s=3)


def test_the_longest_prefix_that_is_a_file_is_the_family():
    assert models.family_of("litepose_prune_s").__name__ == "litepose.models.litepose"
    assert models.family_of("litepose_xs").NETWORK.__name__ == "LitePose"


def test_every_family_file_has_the_contract():
    for family in models.families():
        module = models.family_of(variants(family)[0])
        assert issubclass(module.NETWORK, PoseNetwork)
        assert isinstance(module.DEFAULT, FamilyDefault)
        assert all(len(rule) == 2 for rule in module.OFFICIAL_KEYS)
        assert set(getattr(module, "PUBLISHED", {})) <= set(module.VARIANTS)
        parameters = inspect.signature(module.NETWORK).parameters
        for kwargs in module.VARIANTS.values():
            assert set(kwargs) <= set(parameters)


def with_statistics(network: nn.Module) -> nn.Module:
    """Give every batch normalisation statistics and affine values as a trained network has them."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network
