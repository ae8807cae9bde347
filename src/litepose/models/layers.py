"""The pieces that network families share: convolutions with their normalisation, and the facts a family states.

A module that owns a batch normalisation has `fold_norm()`, which moves it into the convolution in front of it;
`fuse_batchnorm` calls them all. Weights start as PyTorch starts them (the LitePose authors set no others).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from litepose.errors import InputSizeError, SettingError

# Kernel of a transposed convolution that doubles the map -> (padding, output padding). HRNet family.
DECONV_PADDING = {4: (1, 0), 3: (1, 1), 2: (0, 0)}

# Another project's name of a tensor (a whole-name pattern) -> ours.
Keys = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class FamilyDefault:
    """What a family's networks are for where nobody says otherwise; plain strings and numbers.

    codec: the name of the codec that reads the outputs. codec_settings: its settings where they are not its defaults.
    outputs: a name for each output in exported files.
    sizes: variant -> (w, h) of the input it was made for.
    resize: how a picture becomes the input, as the pose spec names it.
    official_colour: the channel order that the authors' own weights expect; official_colour_by_keypoints: where weights
        for that many keypoints expect another one. Mean and std are `InputSpec`'s, of the channels in that order:
        (0.485, 0.456, 0.406) belong to B, G, R where the order is BGR, as the HRNet family's code normalises.
    notes: variant -> what is not known of it for sure; it goes into the provenance of its specs.
    mean, std: of pixels / 255 for all weights of the family, None = ImageNet's.
    official_codec_by_keypoints: codec settings that the authors' weights for that many keypoints need besides.
    counting: the rule by which the authors counted what the network costs, as `counting` names it;
        counting_by_variant: where a variant's authors had another one.
    """

    codec: str
    outputs: tuple[str, ...]
    sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    resize: str = "short_side"
    official_colour: str = "RGB"
    official_colour_by_keypoints: Mapping[int, str] = field(default_factory=dict)
    official_codec_by_keypoints: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    counting: str = "litepose"
    counting_by_variant: Mapping[str, str] = field(default_factory=dict)
    codec_settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class PoseNetwork(nn.Module):
    """Base of every family's network: the facts that specs and runtimes need.

    input_stride: both input sides must be multiples of it.
    output_strides: input px per cell of each output. output_channels: its channels, set by the constructor.
    In train mode further outputs may follow these: what earlier stages say, for the loss alone.
    """

    input_stride: int
    output_strides: tuple[int, ...]
    output_channels: tuple[int, ...]


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, activation; padded so that stride 1 keeps the size.

    bias: the convolution's. It learns nothing, as the normalisation does not see an offset common to all pixels; some
        authors' weights have it.
    tensorflow_padding: where stride 2 leaves one row and column of zeros over, they lie below and right, as in
        TensorFlow, else above and left.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        tensorflow_padding: bool = False,
        activation: type[nn.ReLU] | type[nn.ReLU6] | type[nn.SiLU] | None = nn.ReLU6,
    ) -> None:
        super().__init__()
        padding = (kernel - stride) // 2 if tensorflow_padding else kernel // 2
        self.end_zeros = (kernel - stride) % 2 if tensorflow_padding else 0
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=bias
        )
        if self.conv.bias is not None:
            self.conv.bias.requires_grad_(False)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.activation = activation(inplace=True) if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        if self.end_zeros:
            x = F.pad(x, (0, self.end_zeros, 0, self.end_zeros))
        return self.activation(self.norm(self.conv(x)))

    def fold_norm(self) -> None:
        """Move the normalisation's scale and offset into the convolution."""
        scale, offset = norm_as_affine(self.norm)
        if self.conv.bias is not None:
            offset = offset + scale * self.conv.bias
        self.conv.weight = nn.Parameter(self.conv.weight * scale.reshape(-1, 1, 1, 1))
        self.conv.bias = nn.Parameter(offset)
        self.norm = nn.Identity()


class FusionDeconv(nn.Module):
    """Double the map: ReLU(norm(deconv of the deeper map + deconv of the backbone's own map of that size)).

    The LitePose authors' "fusion deconv head"; without `raw_channels` it is the plain deconvolution of its ablation.
    """

    def __init__(self, in_channels: int, raw_channels: int | None, out_channels: int, *, kernel: int = 4) -> None:
        super().__init__()
        self.refined = doubling_deconv(in_channels, out_channels, kernel=kernel)
        self.raw = doubling_deconv(raw_channels, out_channels, kernel=kernel) if raw_channels else None
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, raw: Tensor) -> Tensor:
        up = self.refined(x)
        if self.raw is not None:
            up = up + self.raw(raw)
        return self.activation(self.norm(up))

    def fold_norm(self) -> None:
        """Scale both deconvolutions; the offset goes into `refined` alone, as it is added once."""
        scale, offset = norm_as_affine(self.norm)
        for deconv in (self.refined, self.raw):
            if deconv is not None:
                deconv.weight = nn.Parameter(deconv.weight * scale.reshape(1, -1, 1, 1))  # (in, out, k, k)
        self.refined.bias = nn.Parameter(offset)
        self.norm = nn.Identity()


class DeconvNorm(nn.Module):
    """Double the map: transposed convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int = 4, groups: int = 1) -> None:
        super().__init__()
        self.deconv = doubling_deconv(in_channels, out_channels, kernel=kernel, groups=groups)
        self.norm: nn.Module = nn.BatchNorm2d(out_channels)
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.norm(self.deconv(x)))

    def fold_norm(self) -> None:
        """Move the normalisation's scale and offset into the deconvolution."""
        scale, offset = norm_as_affine(self.norm)
        weight, groups = self.deconv.weight, self.deconv.groups  # (in, out / groups, k, k)
        by_group = scale.reshape(groups, 1, -1).expand(-1, weight.shape[0] // groups, -1)
        self.deconv.weight = nn.Parameter(weight * by_group.reshape(*weight.shape[:2], 1, 1))
        self.deconv.bias = nn.Parameter(offset)
        self.norm = nn.Identity()


class SeparableHead(nn.Module):
    """Depthwise convolution with norm and ReLU, then a bare 1x1 convolution to the output channels."""

    def __init__(self, in_channels: int, out_channels: int, *, kernel: int = 5) -> None:
        super().__init__()
        self.depthwise = ConvNorm(in_channels, in_channels, kernel=kernel, groups=in_channels, activation=nn.ReLU)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.depthwise(x))


def doubling_deconv(in_channels: int, out_channels: int, *, kernel: int = 4, groups: int = 1) -> nn.ConvTranspose2d:
    """Return a transposed convolution without bias that doubles both sides exactly. Raises SettingError."""
    if kernel not in DECONV_PADDING:
        raise SettingError(f"No deconvolution kernel {kernel!r}. Possible: {sorted(DECONV_PADDING)}.")
    padding, output_padding = DECONV_PADDING[kernel]
    return nn.ConvTranspose2d(
        in_channels,
        out_channels,
        kernel,
        stride=2,
        padding=padding,
        output_padding=output_padding,
        groups=groups,
        bias=False,
    )


def make_divisible(value: float, divisor: int = 8) -> int:
    """Return the nearest multiple of `divisor`, at least one, and never below 0.9 of `value` (MobileNet's rule)."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def ae_output_channels(
    num_keypoints: int,
    *,
    tag_per_keypoint: bool,
    center_keypoint: bool,
    heatmap_outputs: Sequence[bool],
    tag_outputs: Sequence[bool],
) -> tuple[int, ...]:
    """Return the channels of the two outputs of a network for associative embedding. Raises SettingError.

    tag_per_keypoint: a tag map for each keypoint, else one for all.
    center_keypoint: one more keypoint, the person's centre, after the skeleton's own.
    heatmap_outputs, tag_outputs: which of the two outputs hold heatmaps, which tags (after the heatmaps).
    """
    num_maps = num_keypoints + bool(center_keypoint)
    num_tags = num_maps if tag_per_keypoint else 1
    found = f"heatmap_outputs {heatmap_outputs!r}, tag_outputs {tag_outputs!r}"
    if len(heatmap_outputs) != 2 or len(tag_outputs) != 2:
        raise SettingError(f"The network has 2 outputs; found {found}. Give each a flag for heatmaps and one for tags.")
    channels = tuple(num_maps * h + num_tags * t for h, t in zip(heatmap_outputs, tag_outputs, strict=True))
    if min(channels) < 1:
        raise SettingError(f"Each output needs heatmaps or tags; found {num_maps} keypoints, {found}.")
    return channels


def conv_norm_keys(conv: str, norm: str, ours: str) -> Keys:
    """Return the rules by which another project's convolution and normalisation become our `ConvNorm`.

    conv, norm: patterns of the modules' names; their groups may stand in `ours`.
    """
    return (
        (rf"{conv}\.(?P<tensor>\w+)", rf"{ours}.conv.\g<tensor>"),
        (rf"{norm}\.(?P<tensor>\w+)", rf"{ours}.norm.\g<tensor>"),
    )


def check_input_size(images: Tensor, stride: int) -> None:
    """Raise InputSizeError unless both sides of (B, C, H, W) are multiples of `stride`."""
    if torch.jit.is_tracing():  # sizes are symbols there
        return
    height, width = images.shape[-2:]
    if height % stride or width % stride:
        fitting = f"{-(-width // stride) * stride}x{-(-height // stride) * stride}"
        raise InputSizeError(
            f"The network got a {width}x{height} input; its sides must be multiples of {stride}. "
            f"Pad to {fitting}, or use a Predictor, which resizes."
        )


def norm_as_affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Return (scale, offset), each (C,), of a batch normalisation in eval mode; computed in float64."""
    assert isinstance(norm, nn.BatchNorm2d), type(norm)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    offset = norm.bias.double() - norm.running_mean.double() * scale
    return scale.to(norm.weight.dtype).detach(), offset.to(norm.weight.dtype).detach()


def fuse_batchnorm(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose convolutions have biases and which has no batch normalisation.

    Equal to `network.eval()` up to rounding; no training goes on from it.
    """
    fused = copy.deepcopy(network).eval()
    with torch.no_grad():
        for module in fused.modules():
            fold_norm = getattr(module, "fold_norm", None)
            if fold_norm is not None:
                fold_norm()
    left = [name for name, module in fused.named_modules() if isinstance(module, nn.BatchNorm2d)]
    assert not left, f"modules without fold_norm own {left}"
    return fused
