"""Lite-HRNet, its importer and its counts against the reference implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from litepose import checkpoints
from litepose.counting import count
from litepose.models.layers import fuse_batchnorm
from litepose.skeleton import COCO17, MPII16
from parity.fill import fill_input, fill_state
from parity.fixtures import cases, load_case

TOPIC = "models/litehrnet"
SAME_OPERATIONS = 1e-5  # relative to max|y|: float32 through ~300 layers, other convolution kernels elsewhere
FOLDED = 1e-4  # the same with one more rounding of every weight


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def variant_of(case: str) -> str:
    """Return our name of "wider_naive_18_coco"."""
    name = case.rsplit("_", 1)[0]
    return name if name.startswith("litehrnet") else f"litehrnet_{name}"


def filled_state(about: dict[str, Any]) -> dict[str, Tensor]:
    factor = np.float32(about["post_fill"]["factor"])  # else 300 layers of normalisation let the state explode
    return {
        name: torch.from_numpy(array * factor if array.ndim == 1 and name.endswith(".weight") else array)
        for name, array in fill_state(about["layout"]).items()
    }


def imported(tmp_path, about: dict[str, Any], *, source: str = "official", rename=lambda name: name) -> nn.Module:
    state = {rename(name): tensor for name, tensor in filled_state(about).items()}
    torch.save({"state_dict": state, "meta": {"epoch": 210}}, tmp_path / "epoch_210.pth")
    skeleton = MPII16 if about["variant"].endswith("mpii") else COCO17
    network, spec = checkpoints.import_official(
        tmp_path / "epoch_210.pth", variant_of(about["variant"]), skeleton, source=source
    )
    assert spec.input.colour == "RGB"
    return network


def images_of(about: dict[str, Any]) -> Tensor:
    return torch.from_numpy(fill_input(about["input_name"], tuple(about["input_shape"])))


def largest_difference(found: list[Tensor] | tuple[Tensor, ...], arrays: dict[str, np.ndarray]) -> float:
    wanted = [arrays[f"output_{i}"] for i in range(len(arrays))]
    assert [tuple(y.shape) for y in found] == [y.shape for y in wanted]
    return max(float(np.abs(a.numpy() - b).max() / np.abs(b).max()) for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("case", cases(TOPIC))
def test_litehrnet_equals_the_authors(case, tmp_path):
    about, arrays = load_case(TOPIC, case)
    network = imported(tmp_path, about)
    with torch.no_grad():
        if case.endswith("features"):
            refined, branches = network.features(images_of(about))
            found = [*refined, *branches]
        else:
            found = network(images_of(about))
    assert largest_difference(found, arrays) < SAME_OPERATIONS


@pytest.mark.parametrize("case", cases(TOPIC))
def test_parameters_and_macs_are_the_authors_with_each_layer_once(case, tmp_path):
    about, _ = load_case(TOPIC, case)
    network = imported(tmp_path, about)
    for shape, counted in about["op_counts"].items():
        _, height, width = (int(side) for side in shape.split("x"))
        counts = count(network, (width, height))
        assert counts.params == about["params"]
        assert counts.macs == counted["each_module_once"]["conv_macs"]
        assert counts.macs < about["macs"][shape] == counted["executed"]["conv_macs"]  # theirs runs some layers twice


def test_folding_keeps_the_authors_outputs(tmp_path):
    about, arrays = load_case(TOPIC, "litehrnet_18_coco")
    with torch.no_grad():
        assert largest_difference(fuse_batchnorm(imported(tmp_path, about))(images_of(about)), arrays) < FOLDED


def test_files_of_both_mmpose_generations_come_in(tmp_path):
    about, arrays = load_case(TOPIC, "litehrnet_18_coco")
    first = imported(tmp_path, about, source="mmpose")
    second = imported(tmp_path, about, source="mmpose", rename=lambda name: name.replace("keypoint_head.", "head."))
    with torch.no_grad():
        for network in (first, second):
            assert largest_difference(network(images_of(about)), arrays) < SAME_OPERATIONS
