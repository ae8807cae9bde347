"""HigherHRNet beyond the parity numbers: its shrunk variants, what each costs, how it starts, what is said of doubt."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from torch import nn

from litepose import checkpoints, cli, models
from litepose.counting import count, rule_of
from litepose.errors import SettingError
from litepose.importing import rename
from litepose.models.higherhrnet import NOTES, OFFICIAL_KEYS, PUBLISHED, VARIANTS
from litepose.models.hrnet import Exchange
from litepose.skeleton import COCO17, CROWDPOSE14

SMALL = [name for name in VARIANTS if name not in ("higherhrnet_w32", "higherhrnet_w48")]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def on_meta(name: str, num_keypoints: int) -> nn.Module:
    with torch.device("meta"):
        return models.build(name, num_keypoints=num_keypoints)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_network_costs_what_is_printed_of_it(name):
    counts = count(on_meta(name, 14), (512, 512), rule=rule_of(name))
    assert counts.macs_reference == pytest.approx(PUBLISHED[name][14]["macs"], rel=0.005)


@pytest.mark.parametrize(
    ("name", "size", "params"),
    [("higherhrnet_w32", 512, 28.6e6), ("higherhrnet_w32", 640, 28.6e6), ("higherhrnet_w48", 640, 63.8e6)],
)
def test_a_large_network_costs_what_is_printed_of_it(name, size, params):
    counts = count(on_meta(name, 17), (size, size), rule=rule_of(name))
    assert counts.params == pytest.approx(params, abs=0.05e6)
    assert counts.macs_reference == pytest.approx(PUBLISHED[name][17]["sizes"][size, size]["macs"], abs=0.05e9)


def num_blocks(name: str) -> int:
    """Count blocks as the slides do: those of the branches and the four of the stem."""
    blocks = VARIANTS[name]["blocks"]
    stages = [[blocks] * count for count in (2, 3, 4)] if isinstance(blocks, int) else blocks
    return 4 + sum(modules * sum(stage) for modules, stage in zip((1, 4, 3), stages, strict=True))


def test_each_step_of_shrinking_removes_the_share_of_blocks_that_the_slides_print():
    steps = ["higherhrnet_w16", *(f"higherhrnet_w16_shrink{i}" for i in (1, 2, 3))]
    counts = [num_blocks(name) for name in steps]
    assert counts == [108, 77, 54, 36]
    removed = [round(100 * (1 - b / a)) for a, b in itertools.pairwise(counts)]
    assert removed == [29, 30, 33]


def test_a_branch_without_blocks_is_one_clipped_convolution():
    exchange = Exchange([4, 8], blocks=[0, 1], num_outputs=1).eval()
    with torch.no_grad():
        y = exchange.branches[0](100 * torch.randn(1, 4, 8, 8))
    assert y.min() == 0 and y.max() == 6
    assert [type(one).__name__ for one in exchange.branches] == ["ConvNorm", "Sequential"]


def test_tensors_of_branches_without_blocks_have_the_authors_names():
    ours = {name for name in on_meta("higherhrnet_w16_shrink3", 14).state_dict() if ".branches.0." in name}
    theirs = []
    for stage, modules in ((2, 1), (3, 4), (4, 3)):
        for module in range(modules):
            at = f"stage{stage}.{module}.branches.0"
            leaves = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
            theirs += [f"{at}.0.weight", *(f"{at}.1.{leaf}" for leaf in leaves)]
    renamed = rename(dict.fromkeys(theirs, torch.empty(0)), OFFICIAL_KEYS, source="official")
    assert set(renamed) == {name for name in ours if name.startswith("trunk.stages.")}


@pytest.mark.parametrize(("init", "std"), [("normal", 0.001), ("torch", 0.02)])
def test_fresh_weights_start_as_asked(init, std):
    torch.manual_seed(0)
    network = models.build("higherhrnet_w16", num_keypoints=14, init=init)
    weights = torch.cat([m.weight.flatten() for m in network.modules() if isinstance(m, nn.Conv2d)])
    assert weights.std().item() == pytest.approx(std, rel=0.3)


@pytest.mark.parametrize(
    "setting",
    [
        {"init": "zero"},
        {"deconv_channels": 0},
        {"deconv_blocks": -1},
        {"blocks": ((1, 1), (1, 1, 1))},
        {"blocks": ((1, 1), (1, 1, 1), (1, 1, 1, -1))},
        {"blocks": 0},
        {"tag_outputs": (True,)},
        {"heatmap_outputs": (False, False), "tag_outputs": (True, False)},
    ],
)
def test_impossible_settings_are_refused(setting):
    with pytest.raises(SettingError, match=r"found|Possible|Did you mean"):
        models.build("higherhrnet_w16", num_keypoints=14, **setting)


def test_settings_of_the_codec_change_both_outputs():
    spec = checkpoints.default_spec("higherhrnet_w16", CROWDPOSE14, center_keypoint=True, tag_per_keypoint=False)
    assert [output.channels for output in spec.outputs] == [16, 15]
    assert checkpoints.build_network(spec).output_channels == (16, 15)


@pytest.mark.parametrize("name", [*SMALL, "higherhrnet_w32"])
def test_what_is_inferred_stands_in_info_and_in_every_file(name, tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["info", name, "--json", str(tmp_path / "info.json")])
    provenance = json.loads((tmp_path / "info.json").read_text())["provenance"]
    assert provenance == ({"note": NOTES[name]} if name in NOTES else {})
    assert ("inferred" in capsys.readouterr().out) == ("inferred" in NOTES.get(name, ""))
    trained = checkpoints.default_spec(name, COCO17).with_provenance(recipe="mine")
    assert trained.provenance.get("note") == NOTES.get(name)
