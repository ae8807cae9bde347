"""Costs added up over parts equal those of whole networks; the authors' ablations come out in their convention."""

import numpy as np
import pytest
import torch

from litepose.counting import count
from litepose.errors import LiteposeError, SettingError
from litepose.models.litepose import VARIANTS, LitePose
from litepose.search.cost import CountedCost, LatencyCost
from litepose.search.latency import Checked, LatencyTable, load_table
from litepose.search.parts import head_of, parts_of, parts_of_space
from litepose.search.space import SPACES

CROWDPOSE = {"num_keypoints": 14}
HEAD = head_of(CROWDPOSE)


def counted(arch, settings):
    with torch.device("meta"):
        network = LitePose(arch, **settings)
    return count(network, (arch["img_size"],) * 2)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_sums_over_parts_equal_the_counts_of_whole_networks(space):
    """50 random networks over all spaces."""
    rng = np.random.default_rng(0)
    settings = [
        CROWDPOSE,
        {"num_keypoints": 17, "tag_per_keypoint": False},
        {"num_keypoints": 14, "simple_head": True},
        {"num_keypoints": 14, "deconv_kernels": (4, 3, 2), "center_keypoint": True, "tag_outputs": (True, True)},
    ]
    costs = [{kind: CountedCost(kind, one) for kind in ("macs", "macs_reference", "params")} for one in settings]
    for i in range(17):
        arch, whole = space.sample(rng), None
        whole = counted(arch, settings[i % 4])
        for kind, cost in costs[i % 4].items():
            assert cost(arch) == getattr(whole, kind)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_parts_of_a_space_are_those_of_its_networks(space):
    every = parts_of_space(space, HEAD)
    rng = np.random.default_rng(0)
    used = {part for _ in range(1500) for part in parts_of(space.sample(rng), HEAD)}
    assert used <= set(every)
    assert len(every) == len(set(every)) == len({part.key for part in every})
    assert len(used) > 0.85 * len(every)  # nothing is listed that no network has; rare pairs are not drawn


def test_equal_parts_are_counted_once(monkeypatch):
    cost, arch = CountedCost("macs", CROWDPOSE), SPACES["authors"].largest()
    before = cost(arch)
    monkeypatch.setattr("litepose.search.cost.count_module", None)  # a second call would fail
    assert cost(arch) == before


def test_costs_say_their_units():
    assert CountedCost("macs", CROWDPOSE).text(3.6141e9) == "3.614 G MACs"
    assert CountedCost("params", CROWDPOSE).text(1_675_552) == "1.676 M parameters"
    assert LatencyCost(LatencyTable({}, {}), CROWDPOSE).text(12.3456) == "12.35 ms"


def test_settings_that_no_network_takes_are_refused_at_once():
    with pytest.raises(LiteposeError, match="2 outputs"):
        CountedCost("macs", {"num_keypoints": 14, "tag_outputs": (True,)})


def table_for(arch, **changes):
    parts = {part.key: 0.5 for part in parts_of(arch, HEAD)}
    return LatencyTable({"runtime": "onnx"}, parts, **changes)


def test_a_latency_is_the_scaled_sum_of_its_parts_plus_something_for_each():
    arch = SPACES["small"].smallest()
    parts = parts_of(arch, HEAD)
    assert len(parts) == 1 + (2 + 4 + 4 + 4) + 2 * 3 + 2 * 2
    assert LatencyCost(table_for(arch, scale=0.8, part_ms=0.3), CROWDPOSE)(arch) == pytest.approx(
        (0.8 * 0.5 + 0.3) * len(parts)
    )


def test_a_table_of_other_parts_is_refused_with_the_part():
    cost = LatencyCost(table_for(SPACES["small"].smallest()), CROWDPOSE)
    with pytest.raises(SettingError, match="no part 'stem 3-24 side 512'"):
        cost(SPACES["authors"].largest())


def test_a_search_by_latency_depends_on_its_table():
    arch = SPACES["small"].smallest()
    one, same, other = (LatencyCost(table_for(arch, scale=scale), CROWDPOSE).about() for scale in (1.0, 1.0, 1.1))
    assert one == same != other


def test_scale_and_cost_of_a_part_are_found_from_whole_networks_and_judged_on_others():
    sums, counts = np.linspace(2, 20, 12), [30, 50, 40] * 4
    pairs = zip(sums.tolist(), counts, strict=True)
    whole = [Checked(str(one), count, one, 0.7 * one + 0.01 * count) for one, count in pairs]
    table = LatencyTable({}, {}, fitted=tuple(whole[::2]), checked=tuple(whole[1::2])).refitted()
    assert (table.scale, table.part_ms) == pytest.approx((0.7, 0.01))
    assert table.errors() == pytest.approx(np.zeros(6), abs=1e-12)
    assert table.correlation() == pytest.approx(1)


def test_a_table_survives_its_file_and_broken_files_are_refused(tmp_path):
    table = table_for(SPACES["small"].smallest(), scale=0.9, fitted=(Checked("a", 20, 1.0, 2.0),))
    table.save(tmp_path / "table.json")
    assert load_table(tmp_path / "table.json") == table
    (tmp_path / "other.json").write_text('{"parts": {}}')
    (tmp_path / "future.json").write_text('{"version": 9}')
    for name, message in (("none.json", "cannot be read"), ("other.json", "cannot be read"), ("future.json", "9")):
        with pytest.raises(SettingError, match=message):
            load_table(tmp_path / name)


@pytest.mark.parametrize(("kernel", "printed"), [(3, 3.77), (5, 4.14), (7, 4.69)])
def test_the_kernel_ablation_costs_what_the_authors_print(kernel, printed):
    assert round(ablated(kernel=kernel) / 1e9, 2) == printed


def test_kernels_of_nine_cost_five_point_four_two_where_the_authors_print_five_point_three_three():
    assert round(ablated(kernel=9) / 1e9, 2) == 5.42


def test_the_head_ablation_costs_what_the_authors_print():
    assert round(ablated(simple_head=True) / 1e9, 2) == 4.06
    assert round(ablated() / 1e9, 2) == 4.69


def ablated(*, kernel=7, simple_head=False):
    arch = VARIANTS["litepose_prune_s"]["arch"]
    stages = [
        {**stage, "block_setting": [[expansion, kernel] for expansion, _ in stage["block_setting"]]}
        for stage in arch["backbone_setting"]
    ]
    cost = CountedCost("macs_reference", {**CROWDPOSE, "simple_head": simple_head})
    return cost({**arch, "backbone_setting": stages})
