"""Arrays go into one block and come out as they were."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from litepose.training.packing import ALIGN, DTYPES, pack  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Tree:
    first: Any
    rest: Any


def test_a_tree_comes_out_with_its_values_types_and_shapes():
    rng = np.random.default_rng(0)
    arrays = tuple((rng.random((3, 5)) * 99).astype(kind) for kind in DTYPES)
    tree = Tree(7, (*arrays, None, Tree(np.zeros((0, 2), np.int32), "word"), np.arange(6)[::2]))
    packed = pack(tree)
    out = packed.unpack()
    assert packed.block.dtype == torch.uint8
    assert out.first == 7
    for array, tensor in zip(arrays, out.rest, strict=False):
        assert tensor.numpy().dtype == array.dtype
        np.testing.assert_array_equal(tensor.numpy(), array)
    assert out.rest[-3] is None
    assert out.rest[-2].rest == "word"
    assert tuple(out.rest[-2].first.shape) == (0, 2)
    assert out.rest[-1].tolist() == [0, 2, 4]


def test_a_list_of_arrays_is_stacked():
    rows = [np.full((2, 3), i, np.float32) for i in range(4)]
    stacked = pack(Tree(rows, None)).unpack().first
    np.testing.assert_array_equal(stacked.numpy(), np.stack(rows))


def test_all_arrays_are_aligned_views_of_one_block():
    out = pack((np.ones(3, np.uint8), np.ones(5, np.float64))).unpack()
    assert out[0].untyped_storage().data_ptr() == out[1].untyped_storage().data_ptr()
    assert out[1].storage_offset() * 8 == ALIGN


def test_a_tree_without_arrays_is_an_empty_block():
    packed = pack(Tree(1, (None,)))
    assert len(packed.block) == 0
    assert packed.unpack() == Tree(1, (None,))
