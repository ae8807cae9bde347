"""Slices of the widest network: what they compute, what they learn, how they are cut out, what is refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints, supernet  # noqa: E402
from litepose.errors import ModelError, SettingError  # noqa: E402
from litepose.models.litepose import VARIANTS  # noqa: E402
from litepose.models.litepose_super import sort_channels  # noqa: E402
from litepose.search.space import SPACES, space_from_json  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402
from litepose.supernet import Supernet, recalibrate  # noqa: E402
from tiny_model import write_tiny_checkpoint  # noqa: E402
from tiny_supernet import LISTS, SPACE, tiny_supernet  # noqa: E402

ROUNDED = {"atol": 1e-5, "rtol": 1e-4}  # float32 through some 30 layers, other layouts of the same weights


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def pictures(seed: int = 0, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 64, 96, generator=torch.Generator().manual_seed(seed))


def drawn(seed: int) -> dict:
    return SPACE.sample(np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(4))
def test_what_is_cut_out_computes_what_the_supernet_computes_with_that_arch(seed):
    whole, arch = tiny_supernet(), drawn(seed)
    network, spec = whole.sub_network(arch)
    with torch.no_grad():
        inside, alone = whole(pictures(), arch), network(pictures())
    assert all(torch.equal(a, b) for a, b in zip(inside, alone, strict=True))
    assert (spec.network["arch"], spec.model, spec.input.size) == (arch, "litepose_xs", (arch["img_size"],) * 2)


def test_the_largest_arch_is_the_network_itself():
    whole = tiny_supernet()
    with torch.no_grad():
        for a, b in zip(whole(pictures(), SPACE.largest()), whole.network(pictures()), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_those_of_the_cut_network_at_their_places_and_0_elsewhere(seed):
    whole, arch = tiny_supernet(), {**drawn(seed)}
    arch["backbone_setting"] = [
        {**stage, "block_setting": [[t, 7] for t, _ in stage["block_setting"]]} for stage in arch["backbone_setting"]
    ]
    alone, _ = whole.sub_network(arch)
    for network in (whole.network, alone):
        network.train()
    sum(y.square().mean() for y in whole(pictures(), arch)).backward()
    sum(y.square().mean() for y in alone(pictures())).backward()
    theirs = dict(whole.network.named_parameters())
    for name, parameter in alone.named_parameters():
        gradient = theirs[name].grad
        place = tuple(slice(0, n) for n in parameter.shape)
        torch.testing.assert_close(gradient[place], parameter.grad, **ROUNDED)
        elsewhere = gradient.clone()
        elsewhere[place] = 0
        assert not elsewhere.any()
    unused = [name for name in theirs if name not in dict(alone.named_parameters())]
    assert unused and all(theirs[name].grad is None for name in unused)


def test_a_pass_in_train_mode_moves_the_statistics_of_its_channels_alone():
    whole, arch = tiny_supernet(), SPACE.smallest()
    before = copy.deepcopy(dict(whole.network.named_buffers()))
    whole.network.train()
    with torch.no_grad():
        whole(pictures(), arch)
    after = dict(whole.network.named_buffers())
    mean = "stages.0.0.project.norm.running_mean"
    assert not torch.equal(before[mean][:8], after[mean][:8]) and torch.equal(before[mean][8:], after[mean][8:])
    deep = "stages.0.1.project.norm.running_mean"  # the smallest has one block
    assert torch.equal(before[deep], after[deep])


def test_a_smaller_kernel_is_the_centre_of_the_large_one_through_its_map():
    whole = tiny_supernet()
    arch = SPACE.smallest()
    assert arch["backbone_setting"][0]["block_setting"] == [[1, 3]]
    state, _ = whole.extract(arch)
    block = whole.network.blocks[0]
    centre = block.depthwise.conv.weight[:8, 0, 2:5, 2:5].reshape(8, 9)
    wanted = centre @ block.kernel_maps["3"].weight.T + block.kernel_maps["3"].bias
    torch.testing.assert_close(state["stages.0.0.depthwise.conv.weight"].reshape(8, 9), wanted.detach())


def test_kernel_maps_of_a_fresh_supernet_are_the_identity():
    spec = checkpoints.default_spec("litepose_super", COCO17, arch=SPACE.largest(), kernels=(3, 5, 7))
    fresh = Supernet(checkpoints.build_network(spec), spec)
    state, _ = fresh.extract(SPACE.smallest())
    centre = fresh.network.blocks[0].depthwise.conv.weight[:8, :, 2:5, 2:5]
    torch.testing.assert_close(state["stages.0.0.depthwise.conv.weight"], centre.detach())


def test_what_is_cut_out_shares_no_memory_and_stays_when_the_supernet_learns_on():
    whole = tiny_supernet()
    state, _ = whole.extract(SPACE.smallest())
    before = copy.deepcopy(state)
    with torch.no_grad():
        for tensor in whole.network.state_dict().values():
            tensor.add_(1)
    assert all(torch.equal(before[name], state[name]) for name in state)


def test_a_cut_network_goes_through_a_file_and_says_where_it_comes_from(tmp_path):
    whole, arch = tiny_supernet(), drawn(5)
    state, spec = whole.extract(arch)
    path = checkpoints.save(tmp_path / "cut.safetensors", state, spec)
    network, again = checkpoints.load_network(path)
    assert (again.provenance["cut_from"], again.provenance["arch"]) == ("litepose_super", arch)
    assert supernet.SPACE_KEY not in again.provenance
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(network(pictures()), whole(pictures(), arch), strict=True))


def test_a_supernet_goes_through_a_file_with_its_space(tmp_path):
    whole = tiny_supernet()
    path = checkpoints.save(tmp_path / "super.safetensors", whole.network.state_dict(), whole.spec)
    again = supernet.load(path)
    assert again.space == SPACE and not again.network.training
    with torch.no_grad():
        for a, b in zip(again(pictures(), drawn(1)), whole(pictures(), drawn(1)), strict=True):
            assert torch.equal(a, b)


def test_statistics_are_the_mean_over_the_batches_and_nothing_else():
    network, _ = tiny_supernet().sub_network(drawn(2))
    batches = [pictures(seed) for seed in range(3)]
    momentum = network.stem[0].norm.momentum
    assert recalibrate(network, batches) == 3
    with torch.no_grad():
        maps = [network.stem[0].conv(one) for one in batches]
    norm = network.stem[0].norm
    torch.testing.assert_close(norm.running_mean, torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0))
    assert norm.momentum == momentum and not any(module.training for module in network.modules())
    other, _ = tiny_supernet(seed=3).sub_network(drawn(2))
    other.load_state_dict(
        {**other.state_dict(), **{k: v for k, v in network.state_dict().items() if "running" not in k}}
    )
    recalibrate(other, batches)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, msg=name)


def test_statistics_of_no_pictures_are_refused():
    network, _ = tiny_supernet().sub_network(drawn(2))
    with pytest.raises(SettingError, match="0 batches"):
        recalibrate(network, [])


def test_sorting_changes_no_output_and_brings_the_most_read_channels_to_the_front():
    whole = tiny_supernet()
    network = whole.network.double()
    before = copy.deepcopy(network)
    orders = sort_channels(network)
    assert [len(order) for order in orders] == [16, 16, 16, 16]
    with torch.no_grad():
        for a, b in zip(before(pictures().double()), network(pictures().double()), strict=True):
            torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-10)  # float64, other order of sums
    for stage in network.stages:
        reads = stage[0].expand.conv.weight.abs().sum((0, 2, 3))
        assert torch.equal(reads, reads.sort(descending=True).values)


def test_published_networks_come_out_of_the_authors_space_under_their_names():
    space = SPACES["authors"]
    spec = checkpoints.default_spec("litepose_super", COCO17, arch=space.largest())
    with torch.device("meta"):
        whole = Supernet(checkpoints.build_network(spec), spec)
        named = {name: whole.extract(VARIANTS[name]["arch"])[1] for name in ("litepose_xs", "litepose_s", "litepose_m")}
    assert [one.model for one in named.values()] == list(named)
    assert all("arch" not in one.network for one in named.values())
    assert named["litepose_s"].input.size == (448, 448)


def changed(**stage_or_top) -> dict:
    """Return the smallest arch with something else at its top level or in its first stage."""
    arch = json.loads(json.dumps(SPACE.smallest()))
    for key, value in stage_or_top.items():
        (arch if key in arch else arch["backbone_setting"][0])[key] = value
    return arch


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (changed(block_setting=[[1, 9]]), r"kernel in backbone_setting\[0\].* 9.*3, 5, 7"),
        (changed(channel=12), r"backbone_setting\[0\]\.channel 12.*8, 16"),
        (changed(channel=32), r"backbone_setting\[0\]\.channel 32.*8, 16"),
        (changed(input_channel=24), r"input_channel 24.*8, 16"),
        (changed(img_size=128), r"img_size 128.*64, 96"),
        (changed(num_blocks=3, block_setting=[[1, 3]] * 3), r"num_blocks 3.*1, 2"),
        (changed(backbone_setting=SPACE.smallest()["backbone_setting"][:3]), "4 stages.*found 3"),
        (changed(deconv_setting=[8, 8]), "3 widths"),
        ({}, "lacks 'img_size'"),
    ],
)
def test_an_arch_that_is_not_of_the_space_is_refused_with_what_is_possible(arch, message):
    with pytest.raises(ModelError, match=message):
        tiny_supernet().extract(arch)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (changed(block_setting=[[1, 9]]), r"backbone_setting\[0\] has the kernel 9. Possible: 3, 5, 7"),
        (changed(block_setting=[[3, 7]]), r"expansion in backbone_setting\[0\] is 3.*has 2"),
        (changed(channel=32), r"backbone_setting\[0\]\.channel is 32.*has 16"),
        (changed(num_blocks=3, block_setting=[[1, 3]] * 3), r"num_blocks is 3.*has 2"),
        (changed(deconv_setting=[8, 8, 24]), r"deconv_setting\[2\] is 24.*has 16"),
    ],
)
def test_an_arch_that_is_wider_than_a_supernet_without_a_space_is_refused(arch, message):
    spec = checkpoints.default_spec("litepose_super", COCO17, arch=SPACE.largest(), kernels=SPACE.kernels)
    with pytest.raises(ModelError, match=message):
        Supernet(checkpoints.build_network(spec), spec).extract(arch)


def test_a_kernel_without_a_map_is_refused():
    narrow = space_from_json({**LISTS, "kernels": [7]})
    with pytest.raises(ModelError, match=r"has the kernel 3. Possible: 7"):
        tiny_supernet(narrow)(pictures(), SPACE.smallest())


def test_a_network_given_as_a_supernet_is_refused(tmp_path):
    path = write_tiny_checkpoint(tmp_path / "one.safetensors")
    with pytest.raises(ModelError, match="holds one network, litepose_xs"):
        supernet.load(path)


def test_a_supernet_given_as_a_network_is_refused_with_the_command_that_cuts(tmp_path):
    whole = tiny_supernet()
    path = checkpoints.save(tmp_path / "super.safetensors", whole.network.state_dict(), whole.spec)
    with pytest.raises(ModelError, match=r"litepose extract .*super\.safetensors"):
        checkpoints.load_network(path)


@pytest.mark.parametrize("kernels", [(4, 7), (0,), (3.5,)])
def test_impossible_kernels_are_refused(kernels):
    with pytest.raises(SettingError, match="odd whole numbers"):
        checkpoints.default_spec("litepose_super", COCO17, kernels=kernels)
