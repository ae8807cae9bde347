"""Networks in the form that an engine runs fastest: the same function, checked like every export.

A deconvolution that doubles a map (4x4, stride 2) is four convolutions of 2x2, one for each of the places (row, column)
of an output cell in its square of four; with y_p of row phase p in (0, 1), y_p[i] = sum over q in (0, 1) of
x[i + p - 1 + q] w[3 - p - 2q], and likewise along x. Depth-to-space lays the four side by side. Two things follow: the
engine has fast convolutions of 2x2 but slow deconvolutions, slower still in groups; and what comes after and looks at
one cell at a time (ReLU, 1x1 convolutions) can be computed before the four are laid side by side, so that the widest
maps are never written. benchmarks/topdown.py measures it. Two deconvolutions whose sum is taken are one of both inputs.
OpenVINO's deconvolutions are fast unless they are grouped, so it keeps them. For XNNPACK's depthwise kernels, see
`export_tiles`. benchmarks/engines.py measures what each engine gets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litepose.export_litehrnet import FixedLiteHRNet
from litepose.export_tiles import tiled
from litepose.models.layers import ConvNorm, DeconvNorm, FusionDeconv, fuse_batchnorm
from litepose.models.litehrnet import LiteHRNet
from litepose.models.lpn import LPN
from litepose.models.simplebaseline import SimpleBaseline

PHASED = ("onnx", "litert")  # engines whose convolutions of 2x2 are faster than their deconvolutions
PHASED_GROUPS = ("openvino",)  # the same of grouped ones alone
TILED = ("litert",)  # engines whose depthwise kernels end at 25 taps
PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # (row, column) of an output cell in its square, in depth-to-space's order


def optimised_for_export(network: nn.Module, size: tuple[int, int] | None, engine: str = "onnx") -> nn.Module:
    """Return a copy in eval mode without batch normalisation, rewritten where that is faster in the engine.

    size: (w, h) of the only input it will see; None = any, which leaves Lite-HRNet as it is.
    """
    if isinstance(network, LiteHRNet) and size is not None:
        fused: nn.Module = FixedLiteHRNet(network, size).eval()
    else:
        fused = fuse_batchnorm(network)
    if isinstance(fused, LPN | SimpleBaseline):
        grouped = any(isinstance(one, DeconvNorm) and one.deconv.groups > 1 for one in fused.deconvs)
        if engine in PHASED or (grouped and engine in PHASED_GROUPS):
            fused.deconvs, fused.head = _phased(fused.deconvs, fused.head), nn.Identity()  # type: ignore[assignment]
    else:
        fused = _replaced(fused, phased=engine in PHASED)
    return tiled(fused) if engine in TILED else fused


class MergedDeconv(nn.Module):
    """A fusion deconvolution as one deconvolution of both maps, whole or by phases."""

    def __init__(self, fusion: FusionDeconv, *, phased: bool) -> None:
        super().__init__()
        deconv, parts = fusion.refined, [one for one in (fusion.refined, fusion.raw) if one is not None]
        merged = nn.ConvTranspose2d(
            sum(one.in_channels for one in parts),
            deconv.out_channels,
            deconv.kernel_size,  # type: ignore[arg-type]
            stride=deconv.stride,  # type: ignore[arg-type]
            padding=deconv.padding,  # type: ignore[arg-type]
            output_padding=deconv.output_padding,  # type: ignore[arg-type]
        )
        merged.weight = nn.Parameter(torch.cat([one.weight for one in parts]).detach())
        assert deconv.bias is not None
        merged.bias = nn.Parameter(deconv.bias.detach())
        self.up = PhasedDeconv(merged, []) if phased and _has_phases(merged) else nn.Sequential(merged, nn.ReLU())

    def forward(self, x: Tensor, raw: Tensor) -> Tensor:
        return self.up(torch.cat([x, raw], dim=1))


class PhasedDeconv(nn.Module):
    """A doubling deconvolution, ReLU and the 1x1 layers that follow.

    Groups of several inputs and one output each, which engines compute slowly, become that many depthwise convolutions.
    """

    def __init__(self, deconv: nn.ConvTranspose2d, pointwise: Sequence[nn.Module]) -> None:
        super().__init__()
        assert _has_phases(deconv), deconv
        assert deconv.bias is not None
        self.groups = deconv.groups
        self.parts = deconv.in_channels // self.groups if deconv.out_channels == self.groups else 1
        self.bias = nn.Parameter(deconv.bias.detach())
        self.weights = nn.ParameterList()
        for weight in _phase_weights(deconv):  # (out, in / groups, 2, 2)
            self.weights.extend(weight.chunk(self.parts, dim=1))
        self.pointwise = nn.Sequential(nn.ReLU(), *pointwise)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x[:, i :: self.parts] for i in range(self.parts)] if self.parts > 1 else [x]
        maps = []
        for i, phase in enumerate(PHASES):
            weights = list(self.weights)[i * self.parts :]
            total = PhaseConv.apply(parts[0], weights[0], self.bias, phase, self.groups)
            for part, weight in zip(parts[1:], weights[1:], strict=False):
                total = total + PhaseConv.apply(part, weight, None, phase, self.groups)
            maps.append(self.pointwise(total))
        return DepthToSpace.apply(torch.cat(maps, dim=1))


class PhaseConv(torch.autograd.Function):
    """A 2x2 convolution of the cells before and at (phase 0) or at and after (phase 1) each cell, on both axes.

    One node of the graph, whose padding differs by side, where PyTorch knows only a padding and a convolution.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, phase: tuple[int, int], groups: int
    ) -> Tensor:
        row, column = phase
        return F.conv2d(F.pad(x, (1 - column, column, 1 - row, row)), weight, bias, groups=groups)

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, bias: Any, phase: tuple[int, int], groups: int) -> Any:
        row, column = phase
        inputs = [x, weight] if bias is None else [x, weight, bias]
        return g.op("Conv", *inputs, kernel_shape_i=[2, 2], pads_i=[1 - row, 1 - column, row, column], group_i=groups)


class DepthToSpace(torch.autograd.Function):
    """(B, 4C, H, W), the C channels of each of PHASES in turn, to (B, C, 2H, 2W)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        phases = x.reshape(batch, 2, 2, channels // 4, height, width)
        return phases.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // 4, 2 * height, 2 * width)

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        return g.op("DepthToSpace", x, blocksize_i=2, mode_s="DCR")


def _replaced(module: nn.Module, *, phased: bool) -> nn.Module:
    """Return a network with its doubling layers rewritten; phased: into four convolutions."""
    if isinstance(module, FusionDeconv) and module.raw is not None:
        return MergedDeconv(module, phased=phased)
    if isinstance(module, DeconvNorm) and phased and _has_phases(module.deconv):
        return PhasedDeconv(module.deconv, [])
    for name, child in module.named_children():
        setattr(module, name, _replaced(child, phased=phased))
    return module


def _has_phases(deconv: nn.ConvTranspose2d) -> bool:
    return deconv.kernel_size == (4, 4) and deconv.stride == (2, 2) and deconv.padding == (1, 1)


def _phased(deconvs: nn.Sequential, head: nn.Module) -> nn.Sequential:
    """Join every deconvolution with the 1x1 layers up to the next, the last with the head."""
    steps: list[tuple[nn.ConvTranspose2d, list[nn.Module]]] = []
    for layer in deconvs:
        if isinstance(layer, DeconvNorm):
            steps.append((layer.deconv, []))
        else:
            assert isinstance(layer, ConvNorm) and layer.conv.kernel_size == (1, 1), layer
            steps[-1][1].append(layer)
    steps[-1][1].append(head)
    return nn.Sequential(*(PhasedDeconv(deconv, pointwise) for deconv, pointwise in steps))


def _phase_weights(deconv: nn.ConvTranspose2d) -> list[Tensor]:
    """Return the kernels of PHASES, each (out, in / groups, 2, 2)."""
    taps = deconv.weight.detach().unflatten(0, (deconv.groups, -1)).transpose(1, 2).flatten(0, 1)  # (out, in / g, 4, 4)
    return [taps[:, :, [3 - row, 1 - row]][:, :, :, [3 - column, 1 - column]] for row, column in PHASES]
