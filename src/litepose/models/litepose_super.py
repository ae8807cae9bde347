"""LitePose's supernet: the widest network of a search space, of which all others are cut. Built on family litepose.

mit-han-lab/litepose@00b702d (lib/models/pose_supermobilenet.py). Run as a network it is the widest one; slices of it
are `litepose.supernet`'s. What differs from the authors: nothing in it draws an architecture, and the learned maps from
large kernels to smaller ones are there only where a space has smaller ones (`litepose_super_kernels` has theirs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from litepose.errors import SettingError
from litepose.models.layers import ConvNorm, FamilyDefault, SeparableHead
from litepose.models.litepose import KERNEL, InvertedBottleneck, LitePose, uniform_arch
from litepose.models.litepose import OFFICIAL_KEYS as LITEPOSE_KEYS

KERNEL_MAPS = "kernel_maps"  # in the names of the tensors that only a supernet has


class LitePoseSuper(LitePose):
    """The widest LitePose of a space, with what smaller kernels need.

    arch: the widest one. kernels: of the depthwise convolutions; for each below the widest every block has a linear map
        of k*k values, which the centre of its kernels goes through (starting as the identity).
    See LitePose for the others.
    """

    is_supernet = True

    def __init__(
        self,
        arch: Mapping[str, Any],
        *,
        num_keypoints: int,
        kernels: Sequence[int] = (KERNEL,),
        tag_per_keypoint: bool = True,
        center_keypoint: bool = False,
        heatmap_outputs: Sequence[bool] = (True, True),
        tag_outputs: Sequence[bool] = (True, False),
        deconv_kernels: Sequence[int] = (4, 4, 4),
        simple_head: bool = False,
    ) -> None:
        shared: dict[str, Any] = {
            "num_keypoints": num_keypoints,
            "tag_per_keypoint": tag_per_keypoint,
            "center_keypoint": center_keypoint,
            "heatmap_outputs": heatmap_outputs,
            "tag_outputs": tag_outputs,
            "deconv_kernels": deconv_kernels,
            "simple_head": simple_head,
        }
        super().__init__(arch, **shared)
        self.arch, self.shared_settings = arch, shared
        self.kernels = _checked_kernels(kernels)
        for block in self.blocks:
            widest = block.depthwise.conv.kernel_size[0]
            smaller = [kernel for kernel in self.kernels if kernel < widest]
            block.kernel_maps = nn.ModuleDict({str(kernel): _identity(kernel**2) for kernel in smaller})

    @property
    def blocks(self) -> list[InvertedBottleneck]:
        """The blocks of all stages, in order."""
        return [block for i in range(len(self.stages)) for block in stage_of(self, i)]

    def sub_network(self, arch: Mapping[str, Any]) -> LitePose:
        """Return a network of its own of this arch, with fresh weights and everything else as it is here."""
        return LitePose(arch, **self.shared_settings)


def stage_of(network: LitePose, i: int) -> list[InvertedBottleneck]:
    """Return the blocks of a stage."""
    return [cast(InvertedBottleneck, block) for block in cast(nn.Sequential, network.stages[i])]


@torch.no_grad()
def sort_channels(network: LitePose, *, authors_slips: bool = False) -> tuple[Tensor, ...]:
    """Move the most important channels of the backbone's maps to the front, where every sub-network keeps them.

    Importance is the L1 norm of the weights by which the next stage's first convolution reads a channel. Sorted are the
    stem's outputs and those of stages 0 to 2, not the last stage, the expanded channels and the head (as the authors'
    re_organize_weights). The network computes the same as before.
    authors_slips: leave BN statistics and the head's raw branches, which read the same maps, in the old order, as their
        code does; it then computes something else until both are learned anew. Only for comparisons.
    Returns the four orders: place -> channel that stood there before.
    """
    orders = []
    for i in range(len(network.stages)):
        reader, before = stage_of(network, i)[0].expand, stage_of(network, i - 1) if i else []
        order = reader.conv.weight.abs().sum((0, 2, 3)).argsort(descending=True)
        writers = [block.project for block in before] or [cast(ConvNorm, network.stem[2])]
        readers = [reader, *(block.expand for block in before[1:])]
        for part in writers:
            _reorder_outputs(part, order, statistics=not authors_slips)
        for part in readers:
            _reorder(part.conv.weight, order, axis=1)
        if not authors_slips:
            _reorder_raw_readers(network, i, order)
        orders.append(order)
    return tuple(orders)


def _reorder_raw_readers(network: LitePose, i: int, order: Tensor) -> None:
    """Give the head's parts that read map `i` (0 = the stem's) its new order."""
    deconv = network.deconvs[3 - i].raw if i > 0 else None
    if deconv is not None:
        _reorder(cast(nn.ConvTranspose2d, deconv).weight, order, axis=0)  # (in, out, k, k)
    head = network.heads[1 - i].raw if i < 2 else None
    if head is not None:
        head = cast(SeparableHead, head)
        _reorder_outputs(head.depthwise, order, statistics=True)
        _reorder(head.pointwise.weight, order, axis=1)


def _reorder_outputs(part: ConvNorm, order: Tensor, *, statistics: bool) -> None:
    norm = part.norm
    assert isinstance(norm, nn.BatchNorm2d), type(norm)
    assert norm.running_mean is not None and norm.running_var is not None
    of_batches = (norm.running_mean, norm.running_var) if statistics else ()
    for tensor in (part.conv.weight, norm.weight, norm.bias, *of_batches):
        _reorder(tensor, order, axis=0)


def _reorder(tensor: Tensor, order: Tensor, *, axis: int) -> None:
    tensor.copy_(tensor.index_select(axis, order))


def _checked_kernels(kernels: Sequence[int]) -> tuple[int, ...]:
    for kernel in kernels:
        if not isinstance(kernel, int) or kernel < 1 or kernel % 2 == 0:
            raise SettingError(f"Kernels of a supernet are odd whole numbers, as 3, 5 and 7; found {kernel!r}.")
    return tuple(sorted(set(kernels)))


def _identity(size: int) -> nn.Linear:
    linear = nn.Linear(size, size)
    nn.init.eye_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


NETWORK = LitePoseSuper

WIDEST = uniform_arch(512, 24, (32, 64, 96, 160), (64, 48, 32))

VARIANTS: dict[str, dict[str, Any]] = {
    "litepose_super": {"arch": WIDEST},
    "litepose_super_kernels": {"arch": WIDEST, "kernels": (3, 5, 7)},
}

DEFAULT = FamilyDefault(
    codec="ae",
    outputs=("maps_stride4", "maps_stride2"),
    sizes={name: (kwargs["arch"]["img_size"],) * 2 for name, kwargs in VARIANTS.items()},
)

# The authors' supernets hold kernel maps whether or not their space has smaller kernels: `litepose_super_kernels`.
OFFICIAL_KEYS: tuple[tuple[str, str], ...] = (
    *LITEPOSE_KEYS,
    (r"stage\.(\d+)\.(\d+)\.Linear(\d)x\d\.(\w+)", r"stages.\1.\2.kernel_maps.\3.\4"),
)
