"""Weights that a training takes over from files of other projects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from litepose import models  # noqa: E402
from litepose.errors import CheckpointError  # noqa: E402
from litepose.training.start import load_matching  # noqa: E402

MODEL = "simplebaseline_shufflenetv2"


@pytest.fixture(scope="module")
def donor() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return models.build(MODEL, num_keypoints=17).state_dict()


def fresh() -> Any:
    torch.manual_seed(2)
    return models.build(MODEL, num_keypoints=14)


def imagenet_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the trunk's tensors as torchvision's shufflenet_v2_x1_0 names them, with a classifier."""
    named: dict[str, Tensor] = {"fc.weight": torch.zeros(1000, 1024), "fc.bias": torch.zeros(1000)}
    for name, tensor in state.items():
        parts = name.split(".")
        if parts[0] != "trunk":
            continue
        norm = parts[-2] == "norm"
        if parts[1] == "stages":
            branch, places = {"short": ("branch1", (0, 2)), "changed": ("branch2", (0, 3, 5))}[parts[4]]
            at = f"stage{int(parts[2]) + 2}.{parts[3]}.{branch}.{places[int(parts[5])] + norm}"
        else:
            at = f"{ {'stem': 'conv1', 'last': 'conv5'}[parts[1]] }.{int(norm)}"
        named[f"{at}.{parts[-1]}"] = tensor
    return named


def saved(folder: Path, content: Any, name: str = "w.pth") -> Path:
    torch.save(content, folder / name)
    return folder / name


def test_a_trunk_from_imagenet_fits_and_its_classifier_stays_in_the_file(donor, tmp_path):
    network = fresh()
    head = {name: t.clone() for name, t in network.state_dict().items() if not name.startswith("trunk.")}
    left, unused = load_matching(network, saved(tmp_path, imagenet_names(donor)), model=MODEL)
    assert unused == ["fc.weight", "fc.bias"]
    assert left == list(head)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, donor[name] if name.startswith("trunk.") else head[name])


@pytest.mark.parametrize("source", ["official", "mmpose"])
def test_a_pose_checkpoint_of_another_skeleton_gives_all_but_the_last_layer(source, donor, tmp_path):
    state = {name.replace("head.", "final_layer."): tensor for name, tensor in donor.items()}
    if source == "mmpose":
        state = {("keypoint_head." if "final" in name else "backbone.") + name: t for name, t in state.items()}
    network = fresh()
    path = saved(tmp_path, {"state_dict": state, "epoch": 3}, "checkpoint.pth.tar")
    left, unused = load_matching(network, path, model=MODEL)
    assert left == unused == ["head.weight", "head.bias"]
    assert torch.equal(network.state_dict()["deconvs.2.deconv.weight"], donor["deconvs.2.deconv.weight"])


def test_a_file_in_which_nothing_fits_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"none of its 1 tensors fits.*same model family"):
        load_matching(fresh(), saved(tmp_path, {"layer9.0.weight": torch.zeros(3)}), model=MODEL)
    with pytest.raises(CheckpointError, match=r"No checkpoint .*gone\.pth"):
        load_matching(fresh(), tmp_path / "gone.pth", model=MODEL)
