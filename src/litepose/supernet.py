"""The supernet: one set of weights for all networks of a search space, each of which is a prefix slice of the widest.

Wang et al., CVPR 2022, after Cai et al., "Once-for-All", ICLR 2020; mit-han-lab/litepose@00b702d
(lib/models/pose_supermobilenet.py, weight_transfer.py). There are no layers that slice themselves: an arch makes a
network of its own without memory, which is run on views of the widest network's tensors. So gradients, and updates of
BN statistics, reach the one set of weights, and cutting a network out copies those same views.
"""

from __future__ import annotations

import dataclasses
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from litepose import checkpoints
from litepose.errors import ModelError, SettingError
from litepose.models.layers import PoseNetwork
from litepose.models.litepose import VARIANTS, Arch, arch_from_json
from litepose.models.litepose_super import LitePoseSuper
from litepose.search.space import SearchSpace, space_from_json
from litepose.spec import PoseSpec

SPACE_KEY = "space"  # of a supernet's provenance
OWN_ARCH = "litepose_xs"  # the name under which a network with an arch of its own is built
CACHED = 64  # archs whose networks without memory are kept

Norm = nn.modules.batchnorm._BatchNorm


class Supernet:
    """A supernet's weights with their spec. space: what it was trained for, None where its file does not say.

    network: holds the weights; its mode (train or eval) is that of the sub-networks.
    """

    def __init__(self, network: LitePoseSuper, spec: PoseSpec) -> None:
        self.network, self.spec = network, spec
        said = spec.provenance.get(SPACE_KEY)
        self.space: SearchSpace | None = None if said is None else space_from_json(said)
        self._cuts: OrderedDict[str, _Cut] = OrderedDict()

    def __call__(self, images: Tensor, arch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """Return the outputs of a sub-network, whose gradients and BN statistics are slices of the supernet's.

        images: (B, 3, H, W) of any size; the arch's own input size does not count. Raises ModelError.
        """
        cut = self._cut(arch)
        if cut.network.training != self.network.training:
            cut.network.train(self.network.training)
        outputs: tuple[Tensor, ...] = torch.func.functional_call(cut.network, cut.tensors(), (images,))
        return outputs

    def extract(self, arch: Mapping[str, Any]) -> tuple[dict[str, Tensor], PoseSpec]:
        """Cut a sub-network out: return its weights, head and BN statistics included, and its spec.

        Kernels below the widest are what the learned maps make of them. The weights compute exactly what the supernet
        computes with this arch; BN statistics are those that all widths share, see `recalibrate`.
        Raises ModelError where the arch is not one of this supernet's.
        """
        self.check(arch)
        with torch.no_grad():
            state = {name: tensor.detach().clone() for name, tensor in self._cut(arch).tensors().items()}
        return state, self._spec_of(arch)

    def sub_network(self, arch: Mapping[str, Any]) -> tuple[PoseNetwork, PoseSpec]:
        """Return what `extract` cuts out as a network, in eval mode on the supernet's device, with its spec."""
        state, spec = self.extract(arch)
        network = checkpoints.build_network(spec)
        checkpoints.load_state(network, state)
        return network.to(next(iter(state.values())).device).eval(), spec

    def check(self, arch: Mapping[str, Any]) -> None:
        """Raise ModelError where an arch is broken, not of the supernet's space, or wider than it."""
        read = arch_from_json(arch)
        if self.space is not None:
            self.space.check(arch)
        _check_fits(read, self.network)

    def _cut(self, arch: Mapping[str, Any]) -> _Cut:
        key = json.dumps({name: value for name, value in arch.items() if name != "img_size"}, sort_keys=True)
        if key not in self._cuts:
            _check_fits(arch_from_json(arch), self.network)
            self._cuts[key] = _Cut(self.network, arch)
            if len(self._cuts) > CACHED:
                self._cuts.popitem(last=False)
        self._cuts.move_to_end(key)
        return self._cuts[key]

    def _spec_of(self, arch: Mapping[str, Any]) -> PoseSpec:
        plain = json.loads(json.dumps(arch))
        known = next((name for name, settings in VARIANTS.items() if settings["arch"] == plain), None)
        network = {key: value for key, value in self.spec.network.items() if key not in ("arch", "kernels")}
        left_behind = {SPACE_KEY, "metrics"}  # the supernet's, not of what is cut out
        return dataclasses.replace(
            self.spec,
            model=known or OWN_ARCH,
            network=network if known else {**network, "arch": plain},
            input=dataclasses.replace(self.spec.input, size=(plain["img_size"],) * 2),
            provenance={
                **{key: value for key, value in self.spec.provenance.items() if key not in left_behind},
                "cut_from": self.spec.model,
                "arch": plain,
            },
        )


def load(path: str | Path) -> Supernet:
    """Open a supernet's checkpoint, in eval mode. Raises ModelError for any other, CheckpointError, SpecError."""
    state, spec = checkpoints.load(path)
    network = checkpoints.build_network(spec)
    if not isinstance(network, LitePoseSuper):
        raise ModelError(
            f"{path} was given as a supernet; it holds one network, {spec.model}. Networks are cut out of supernets "
            "alone, which `litepose train` writes from a recipe with [supernet]."
        )
    checkpoints.load_state(network, state, source=str(path))
    return Supernet(network.eval(), spec)


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> int:
    """Measure BN statistics anew: each becomes the mean of what the batches have, nothing of the old is left.

    All widths of a supernet share one set of statistics, so those of a network that was cut out fit no width well.
    batches: (B, 3, H, W) each, as the network is trained on, on its device. Returns their number. The network is then
    in eval mode. Raises SettingError where there are none.
    """
    norms = [module for module in network.modules() if isinstance(module, Norm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    network.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
        norm.train()
    count = 0
    for images in batches:
        network(images)
        count += 1
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
    if not count:
        raise SettingError("Statistics cannot be measured on 0 batches of pictures. Give at least one.")
    return count


@dataclass(frozen=True)
class _Source:
    """Where a tensor of a sub-network comes from: an attribute of the supernet's module `owner`, cut to `shape`.

    kernel_map: what the middle of a depthwise kernel goes through, None where it is cut at the end as all others.
    """

    owner: nn.Module
    attribute: str
    shape: tuple[int, ...]
    kernel_map: nn.Module | None = None

    def tensor(self) -> Tensor:
        whole: Tensor = getattr(self.owner, self.attribute)
        if self.kernel_map is None:
            return _prefix(whole, self.shape)
        margin = (whole.shape[-1] - self.shape[-1]) // 2
        middle = whole[: self.shape[0], :, margin : margin + self.shape[2], margin : margin + self.shape[3]]
        mapped: Tensor = self.kernel_map(middle.flatten(1))
        return mapped.view(self.shape)


class _Cut:
    """A sub-network without memory and the places of its tensors in the supernet."""

    def __init__(self, whole: LitePoseSuper, arch: Mapping[str, Any]) -> None:
        with torch.device("meta"):
            self.network = whole.sub_network(arch)
        self._sources = {
            name: _source_of(whole, name, tuple(tensor.shape)) for name, tensor in self.network.state_dict().items()
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return the sub-network's tensors, views of the supernet's (smaller kernels: computed from them)."""
        return {name: source.tensor() for name, source in self._sources.items()}


def _source_of(whole: LitePoseSuper, name: str, shape: tuple[int, ...]) -> _Source:
    path, _, attribute = name.rpartition(".")
    owner = whole.get_submodule(path)
    kernel_map = None
    depthwise = path.startswith("stages.") and path.endswith("depthwise.conv")
    if depthwise and shape[-1] < owner.get_parameter("weight").shape[-1]:
        kernel_map = whole.get_submodule(path.replace("depthwise.conv", f"kernel_maps.{shape[-1]}"))
    return _Source(owner, attribute, shape, kernel_map)


def _prefix(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    for axis, (wanted, found) in enumerate(zip(shape, tensor.shape, strict=True)):
        if wanted < found:
            tensor = tensor.narrow(axis, 0, wanted)
    return tensor


def _check_fits(arch: Arch, network: LitePoseSuper) -> None:
    """Raise ModelError where an arch wants what the widest network does not have."""
    widest = arch_from_json(network.arch)
    limits: list[tuple[str, float, float]] = [("input_channel", arch.first_channels, widest.first_channels)]
    pairs = zip(arch.deconv_channels, widest.deconv_channels, strict=True)
    limits += [(f"deconv_setting[{i}]", *pair) for i, pair in enumerate(pairs)]
    for i, (stage, whole) in enumerate(zip(arch.stages, widest.stages, strict=True)):
        where = f"backbone_setting[{i}]"
        limits += [(f"{where}.channel", stage.channels, whole.channels)]
        limits += [(f"{where}.num_blocks", len(stage.blocks), len(whole.blocks))]
        for (expansion, kernel), (most, largest) in zip(stage.blocks, whole.blocks, strict=False):
            limits += [(f"expansion in {where}", expansion, most)]
            possible = sorted({largest, *(one for one in network.kernels if one < largest)})
            if kernel not in possible:
                raise ModelError(
                    f"An arch of this supernet was wanted; {where} has the kernel {kernel}. Possible: "
                    f"{', '.join(map(str, possible))}. Take one of these, or a supernet of a space with that kernel."
                )
    for what, wanted, most in limits:
        if wanted > most:
            raise ModelError(
                f"An arch of this supernet was wanted; its {what} is {wanted:g}, and the widest network has {most:g}. "
                "Take an arch of the space that it was trained for."
            )
