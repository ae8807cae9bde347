"""The supernet against the authors': nine sub-networks, the same cut out, sorted channels, statistics measured anew.

The state is filled under the authors' names and comes in through the importer (strict), kernel maps included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from litepose import checkpoints
from litepose.importing import rename
from litepose.models.litepose_super import OFFICIAL_KEYS, LitePoseSuper, sort_channels
from litepose.skeleton import CROWDPOSE14
from litepose.supernet import Supernet
from parity.fill import fill_input, fill_state
from parity.fixtures import cases, load_case

TOPIC = "models/litepose-super"
SAME_OPERATIONS = 1e-5  # relative to max|y|: float32, ~150 layers, other convolution kernels on other machines
STATISTICS = 1e-5  # absolute and relative, float32 sums over 2 x 64 x 64 values
THINNED = 8  # the fixtures that travel with the tests hold every eighth row and column

ARCHS = [
    *(f"{part}-manager-depth" for part in ("full-1.0", "half", "quarter")),
    *("search-xs", "search-s", "search-m", "search-l", "prune-l", "mixed-kernel-expansion-depth"),
]
SORTED_ARCHS = ["full-1.0-manager-depth", "half-manager-depth", "search-xs", "search-l"]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def case() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return complete_or_thinned("crowdpose")


def complete_or_thinned(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    return load_case(TOPIC, name if name in cases(TOPIC) else f"{name}-thinned")


def imported(about: Mapping[str, Any], folder: Path) -> Supernet:
    state = {name: torch.from_numpy(array) for name, array in fill_state(about["layout"]).items()}
    torch.save({"1." + name: tensor for name, tensor in state.items()}, folder / "super.pth.tar")  # as their fp16 saves
    network, spec = checkpoints.import_official(folder / "super.pth.tar", "litepose_super_kernels", CROWDPOSE14)
    assert isinstance(network, LitePoseSuper)
    assert sum(parameter.numel() for parameter in network.parameters()) == about["params"]
    return Supernet(network, spec)


@pytest.fixture(scope="module")
def supernet(case, tmp_path_factory) -> Supernet:
    return imported(case[0], tmp_path_factory.mktemp("super"))


def images(name: str, shape: list[int]) -> Tensor:
    return torch.from_numpy(fill_input(name, tuple(shape)))


def difference(outputs: tuple[Tensor, ...], arrays: Mapping[str, np.ndarray], prefix: str) -> float:
    """Return the largest difference relative to the largest output; of thinned fixtures on the cells that they have."""
    largest = 0.0
    for i, output in enumerate(outputs):
        wanted, found = arrays[f"{prefix}output_{i}"], output.detach().numpy()
        if found.shape != wanted.shape:
            found = found[..., ::THINNED, ::THINNED]
        assert found.shape == wanted.shape
        largest = max(largest, float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    return largest


@pytest.mark.parametrize("name", ARCHS)
def test_a_sub_network_equals_the_authors(name, case, supernet):
    about, arrays = case
    with torch.no_grad():
        outputs = supernet(images(about["input_name"], about["input_shape"]), about["archs"][name]["arch"])
    assert difference(outputs, arrays, f"{name}__super_") < SAME_OPERATIONS


@pytest.mark.parametrize("name", ARCHS)
def test_what_is_cut_out_computes_the_same_to_the_last_bit_and_has_the_authors_size(name, case, supernet):
    about, arrays = case
    arch, picture = about["archs"][name]["arch"], images(about["input_name"], about["input_shape"])
    network, spec = supernet.sub_network(arch)
    with torch.no_grad():
        inside, alone = supernet(picture, arch), network(picture)
    assert all(torch.equal(a, b) for a, b in zip(inside, alone, strict=True))
    assert spec.input.size == (arch["img_size"],) * 2
    if f"{name}__standalone_output_0" in arrays:
        assert difference(alone, arrays, f"{name}__standalone_") < SAME_OPERATIONS
    if "standalone_params" in about["archs"][name]:
        assert sum(p.numel() for p in network.parameters()) == about["archs"][name]["standalone_params"]


def test_published_archs_come_out_under_their_names(case, supernet):
    archs = case[0]["archs"]
    named = {name: supernet.extract(archs[name]["arch"])[1].model for name in ("search-xs", "search-l", "prune-l")}
    assert named == {"search-xs": "litepose_xs", "search-l": "litepose_l", "prune-l": "litepose_prune_l"}


def test_sorted_channels_equal_the_authors_with_their_slips(case, tmp_path):
    about, arrays = complete_or_thinned("reorganized")
    supernet = imported(case[0], tmp_path)
    orders = sort_channels(supernet.network, authors_slips=True)
    for i, order in enumerate(orders):
        np.testing.assert_array_equal(order.numpy(), arrays[f"sorted_idx_{i}"])
    for name in SORTED_ARCHS:
        with torch.no_grad():
            outputs = supernet(images(about["input_name"], about["input_shape"]), about["archs"][name])
        assert difference(outputs, arrays, f"{name}__") < SAME_OPERATIONS, name


def test_sorting_without_the_slips_leaves_the_widest_network_what_it_was(case, tmp_path):
    supernet = imported(case[0], tmp_path)
    network = supernet.network.double()
    picture = images(case[0]["input_name"], case[0]["input_shape"]).double()
    with torch.no_grad():
        before = network(picture)
        orders = sort_channels(network)
        after = network(picture)
    assert [order.tolist() == sorted(order.tolist()) for order in orders] == [False] * 4  # something moved
    for a, b in zip(before, after, strict=True):
        assert float((a - b).abs().max() / a.abs().max()) < 1e-10  # float64, sums in another order
    reads = network.stages[0][0].expand.conv.weight.abs().sum((0, 2, 3))
    assert torch.equal(reads, reads.sort(descending=True).values)


def test_statistics_of_a_pass_in_train_mode_equal_the_authors(case, tmp_path):
    about, arrays = complete_or_thinned("bn-calibration")
    supernet = imported(case[0], tmp_path)
    supernet.network.train()
    with torch.no_grad():
        outputs = supernet(images(about["input_name"], about["input_shape"]), about["arch"])
    assert difference(outputs, arrays, "train_") < SAME_OPERATIONS
    buffers, compared = dict(supernet.network.named_buffers()), 0
    for name, wanted in arrays.items():
        if name.endswith(("running_mean", "running_var")):
            (ours,) = rename({name: torch.empty(0)}, OFFICIAL_KEYS, source="official")
            np.testing.assert_allclose(buffers[ours].numpy(), wanted, atol=STATISTICS, rtol=STATISTICS, err_msg=name)
            compared += 1
    assert compared >= 14
    supernet.network.eval()
    with torch.no_grad():
        outputs = supernet(images(about["eval_input_name"], about["eval_input_shape"]), about["arch"])
    assert difference(outputs, arrays, "eval_after_") < SAME_OPERATIONS
