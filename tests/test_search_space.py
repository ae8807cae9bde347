"""The space of networks: how many there are, what is drawn, what is refused."""

import copy
import json

import numpy as np
import pytest

from litepose.errors import ModelError, SettingError
from litepose.models.layers import make_divisible
from litepose.models.litepose import STAGE_DEPTHS, STAGE_STRIDES, VARIANTS, LitePose, arch_from_json
from litepose.search.space import SIZE_STEP, SPACES, STRIDES, SearchSpace, arch_key, every_arch, space_from_json

AUTHORS, OURS, SMALL = (SPACES[name] for name in ("authors", "ours", "small"))


def test_the_authors_space_holds_245760_distinct_networks():
    assert AUTHORS.num_archs == 5 * 3 * 4**3 * 4**4 == 245_760


def test_the_authors_widths_are_those_of_the_widest_network_times_four_ratios():
    lists = [AUTHORS.first_channels, *AUTHORS.deconv_channels, *AUTHORS.stage_channels]
    for widths in lists:
        assert widths == tuple(make_divisible(widths[0] * ratio) for ratio in (1, 0.75, 0.5, 0.25))
    assert AUTHORS.depths == tuple((depth,) for depth in STAGE_DEPTHS)


def test_the_number_of_networks_is_that_of_all_of_them():
    space = SearchSpace("tiny", (64, 128), (8, 8, 16), ((8,),) * 3, ((8,),) * 4, ((1, 2), (1,), (1,), (1,)), (3, 5))
    keys = {arch_key(arch) for arch in every_arch(space)}
    assert len(keys) == space.num_archs == 2 * 2 * 2 * 2**4


@pytest.mark.parametrize("name", ["litepose_xs", "litepose_s", "litepose_m", "litepose_l"])
def test_the_published_networks_are_in_the_authors_space(name):
    arch = VARIANTS[name]["arch"]
    assert AUTHORS.arch_of(AUTHORS.genes_of(arch)) == arch


def test_the_space_agrees_with_the_network_about_strides():
    assert STRIDES == STAGE_STRIDES
    assert LitePose.input_stride == SIZE_STEP


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_drawn_network_is_a_litepose_of_the_space(space):
    rng = np.random.default_rng(0)
    for _ in range(50):
        arch = space.sample(rng)
        space.check(arch)
        assert arch_from_json(arch).input_size in space.input_sizes


def test_draws_repeat_with_the_seed_and_a_value_listed_twice_comes_twice_as_often():
    one, other = (np.random.default_rng(3) for _ in range(2))
    first = [AUTHORS.sample(one) for _ in range(2000)]
    assert first == [AUTHORS.sample(other) for _ in range(2000)]
    share = np.mean([arch["input_channel"] == 24 for arch in first])
    assert share == pytest.approx(0.5, abs=0.05)  # 4.5 standard deviations


def test_largest_and_smallest_bound_every_gene():
    low, high = OURS.genes_of(OURS.smallest()), OURS.genes_of(OURS.largest())
    assert all(min(g.options) == a and max(g.options) == b for g, a, b in zip(OURS.genes, low, high, strict=True))
    assert OURS.largest()["backbone_setting"][3]["block_setting"] == [[6, 7]] * 10


def test_mutation_changes_about_its_share_of_the_genes_and_none_at_zero():
    rng = np.random.default_rng(1)
    arch = OURS.largest()
    assert OURS.mutate(arch, rng, probability=0) == arch
    before = OURS.genes_of(arch)
    changed = [
        np.mean([a != b for a, b in zip(before, OURS.genes_of(OURS.mutate(arch, rng)), strict=True)])
        for _ in range(500)
    ]
    # A tenth is redrawn; a redrawn gene keeps its value with probability 1 / options (here about 0.35 on average).
    assert 0.05 < np.mean(changed) < 0.08


def test_a_child_has_each_gene_from_one_of_its_parents():
    rng = np.random.default_rng(2)
    low, high = OURS.smallest(), OURS.largest()
    children = [OURS.genes_of(OURS.cross(low, high, rng)) for _ in range(200)]
    for gene, values in zip(OURS.genes, zip(*children, strict=True), strict=True):
        assert set(values) == {min(gene.options), max(gene.options)}


def test_shrinking_ends_at_the_smallest_network():
    rng = np.random.default_rng(4)
    arch, steps = OURS.largest(), 0
    while arch != OURS.smallest():
        arch, steps = OURS.shrink(arch, rng), steps + 1
    assert steps == sum(len(set(gene.options)) - 1 for gene in OURS.genes)
    assert OURS.shrink(arch, rng) == arch


def test_keys_do_not_depend_on_the_order_of_a_file():
    arch = SMALL.largest()
    turned = dict(reversed(json.loads(json.dumps(arch)).items()))
    assert arch_key(arch) == arch_key(turned)
    assert arch_key(arch) != arch_key(SMALL.smallest())


def changed(**changes):
    arch = copy.deepcopy(SMALL.smallest())
    for place, value in changes.items():
        if place in ("channel", "num_blocks", "stride", "block_setting"):
            arch["backbone_setting"][2][place] = value
        else:
            arch[place] = value
    return arch


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (changed(channel=56), r"found backbone_setting\[2\]\.channel 56\. Possible there: 24, 32, 48\."),
        (
            changed(block_setting=[[6, 5]] * 4),
            r"kernel in backbone_setting\[2\]\.block_setting 5\. Possible there: 7\.",
        ),
        (changed(block_setting=[[6, 7]] * 3 + [[6, 5]]), "must repeat one"),
        (changed(num_blocks=5), "says num_blocks 5; its block_setting lists 4"),
        (changed(stride=1), "stride 1; the head fits only 2"),
        (changed(img_size=512), "found img_size 512. Possible there: 128, 160, 192, 224"),
        (changed(deconv_setting=[16, 16]), "found 2 and 4"),
        (changed(backbone_setting=SMALL.smallest()["backbone_setting"][:3]), "found 3 and 3"),
        (changed(backbone_setting=[7] * 4), "this one is not"),
        ({}, "this one is not"),
        (changed(input_channel=True), "found input_channel True"),
    ],
)
def test_an_arch_outside_of_the_space_is_refused_with_the_gene_and_what_is_possible(arch, message):
    with pytest.raises(ModelError, match=message):
        SMALL.check(arch)


def test_a_space_goes_to_json_and_back():
    for space in SPACES.values():
        assert space_from_json(json.loads(json.dumps(space.to_json()))) == space
    assert space_from_json("ours") is OURS


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("author", "Did you mean 'authors'"),
        (7, "a name or a table of lists"),
        ({**SMALL.to_json(), "kernel": [3]}, "has no 'kernel'. .*Did you mean 'kernels'"),
        ({"input_sizes": [128]}, "'first_channels' is missing"),
        ({**SMALL.to_json(), "depths": [[1]] * 3}, "depths of a search space must be 4 lists"),
        ({**SMALL.to_json(), "kernels": 7}, "kernels of a search space must be a list"),
        ({**SMALL.to_json(), "kernels": [4]}, "lists 4 for kernel in"),
        ({**SMALL.to_json(), "kernels": []}, "nothing to choose from for kernel"),
        ({**SMALL.to_json(), "input_sizes": [100]}, "lists 100 for img_size; a multiple of 16"),
        ({**SMALL.to_json(), "first_channels": [8.5]}, "lists 8.5 for input_channel"),
        ({**SMALL.to_json(), "expansions": ["6"]}, "lists '6' for expansion"),
    ],
)
def test_a_broken_space_is_refused(data, message):
    with pytest.raises(SettingError, match=message):
        space_from_json(data)
