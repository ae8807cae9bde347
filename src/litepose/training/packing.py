"""Arrays of a batch in one block of memory: one hand-over between processes, one copy to the device.

Each tensor that a loader process sends costs the receiving process a system call or two and the loader a pinned copy;
a batch has ten. Packed they cost as much as one.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

ALIGN = 64  # bytes; whatever the dtype, a part begins where it may be viewed as such
DTYPES = {
    np.dtype(kind): getattr(torch, kind) for kind in ("bool", "uint8", "int16", "int32", "int64", "float32", "float64")
}


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where one array lies in the block."""

    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + math.prod(self.shape) * self.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class Packed:
    """A tree of arrays in one block.

    block: (n,) uint8. tree: the tree, a Slot in the place of each array.
    """

    block: Tensor
    tree: Any

    def pin_memory(self) -> Packed:
        """Return it in memory from which a GPU copies without the processor's help; the loader calls this."""
        return Packed(self.block.pin_memory(), self.tree)

    def to(self, device: torch.device) -> Packed:
        """Return it on `device`; from pinned memory the copy runs beside what the caller does next."""
        return Packed(self.block.to(device, non_blocking=True), self.tree)

    def unpack(self) -> Any:
        """Return the tree with tensors, which are views of the block."""
        return _map(self.tree, self._view)

    def _view(self, leaf: Any) -> Any:
        if not isinstance(leaf, Slot):
            return leaf
        return self.block[leaf.start : leaf.end].view(DTYPES[leaf.dtype]).view(leaf.shape)


def pack(tree: Any) -> Packed:
    """Copy the arrays of a tree, once each, into one block; in a loader process into memory that all processes see.

    tree: dataclasses and tuples, nested; their leaves are arrays, lists of arrays of one shape (which are stacked), and
        other values, which stay as they are.
    """
    parts: list[tuple[Slot, np.ndarray | list[np.ndarray]]] = []

    def place(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray | list):
            return leaf
        first = leaf[0] if isinstance(leaf, list) else leaf
        shape = (len(leaf), *first.shape) if isinstance(leaf, list) else first.shape
        start = -(-parts[-1][0].end // ALIGN) * ALIGN if parts else 0
        slot = Slot(start, first.dtype, shape)
        parts.append((slot, leaf))
        return slot

    placed = _map(tree, place)
    block = torch.empty(parts[-1][0].end if parts else 0, dtype=torch.uint8)
    if torch.utils.data.get_worker_info() is not None:
        block.share_memory_()  # still empty, so that the contents are written once
    memory = block.numpy()
    for slot, leaf in parts:
        view = memory[slot.start : slot.end].view(slot.dtype).reshape(slot.shape)
        if isinstance(leaf, list):
            np.stack(leaf, out=view)
        else:
            view[...] = leaf
    return Packed(block, placed)


def _map(tree: Any, function: Any) -> Any:
    """Return the tree with `function` applied to every leaf."""
    if isinstance(tree, tuple):
        return tuple(_map(one, function) for one in tree)
    if dataclasses.is_dataclass(tree) and not isinstance(tree, type | Slot):
        names = [field.name for field in dataclasses.fields(tree)]
        return type(tree)(**{name: _map(getattr(tree, name), function) for name in names})
    return function(tree)
