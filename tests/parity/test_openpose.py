"""Lightweight OpenPose against the author's implementation: network, importer and counts at once."""

from __future__ import annotations

import pytest
import torch

from litepose import checkpoints
from litepose.counting import RULES, count, rule_of
from litepose.errors import CheckpointError
from litepose.models.layers import fuse_batchnorm
from litepose.models.openpose import PUBLISHED, OpenPoseLight
from litepose.skeleton import OPENPOSE18
from parity.fill import fill_input
from parity.fixtures import cases, load_case
from parity.networks import check_counts, filled

PLAIN = 1e-5  # relative to max|y| of each stage: the filled state lets stages grow tenfold
TOPIC = "models/lwopenpose"


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def imported(tmp_path, state: dict[str, torch.Tensor], model: str) -> OpenPoseLight:
    """Import a state as the author's training saves it."""
    wrapped = {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}, "iter": 370000}
    torch.save(wrapped, tmp_path / "checkpoint_iter_370000.pth")
    network, spec = checkpoints.import_official(tmp_path / "checkpoint_iter_370000.pth", model, OPENPOSE18)
    assert spec.input.colour == "BGR"
    assert [round(255 * value, 9) for value in (*spec.input.mean, *spec.input.std)] == [128] * 3 + [256] * 3
    return network


def differences(found: list[torch.Tensor], arrays) -> list[float]:
    wanted = [arrays[f"output_{i}"] for i in range(len(found))]
    return [float(abs(a.numpy() - b).max() / abs(b).max()) for a, b in zip(found, wanted, strict=True)]


@pytest.mark.parametrize("case", cases(TOPIC))
def test_every_stage_equals_the_author_s(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network = imported(tmp_path, filled(about), f"openpose_light_{case[-1]}")
    images = torch.from_numpy(fill_input(about["input_name"], tuple(about["input_shape"])))
    with torch.no_grad():
        stages = [maps for stage in network.stages(images) for maps in stage]
        last = network(images)
        folded = fuse_batchnorm(network)(images)
    assert len(stages) == len(about["output_names"])
    assert max(differences(stages, arrays)) < PLAIN
    for a, b, c in zip(last, stages[-2:], folded, strict=True):
        assert torch.equal(a, b)
        assert float((a - c).abs().max() / a.abs().max()) < 1e-4  # folding rounds every weight once
    check_counts(network, about)


def test_a_longer_network_s_file_gives_the_shorter_one_and_not_the_other_way_round(tmp_path):
    about, arrays = load_case(TOPIC, "refine1")
    state = filled(about)
    longer = OpenPoseLight(2, num_keypoints=18).state_dict()
    extra = {name: longer[name] for name in longer if name.startswith("refinements.1.")}
    network = imported(tmp_path, {**state, **extra}, "openpose_light_1")
    images = torch.from_numpy(fill_input(about["input_name"], tuple(about["input_shape"])))
    with torch.no_grad():
        assert float(abs(network(images)[0].numpy() - arrays["output_2"]).max() / abs(arrays["output_2"]).max()) < PLAIN
    with pytest.raises(CheckpointError, match=r"missing: refinements\.1\."):
        imported(tmp_path, state, "openpose_light_2")


def test_the_paper_s_nine_giga_come_out_by_its_rule():
    network = OpenPoseLight(1, num_keypoints=18)
    counts = count(network, (368, 368), rule=rule_of("openpose_light_1"))
    assert counts.macs == 8_881_647_616
    assert counts.macs_reference / 1e9 == pytest.approx(PUBLISHED["openpose_light_1"][18]["macs"] / 1e9, abs=0.05)
    assert RULES["elements"].printed(counts.macs_reference) == "8.97 G (G = 10^9)"
