"""Wide depthwise convolutions as sums of narrow ones, for engines whose kernels end at 25 taps (XNNPACK's do).

Beyond, XNNPACK falls back to a path that is slower by an order of magnitude, and 7x7 with its 49 taps is LitePose's
core block. Rows of a kernel at equal distances are a kernel of their own with that dilation, and its padding stays
symmetric where the rows lie symmetrically around the middle: 7x7 is its rows (2, 3, 4), (1, 5) and (0, 6), three
convolutions of 21, 14 and 14 taps over the same map, which is neither cropped nor shifted for it. benchmarks/engines.py
measures it.
"""

from __future__ import annotations

from torch import Tensor, nn

MAX_TAPS = 25


class TiledDepthwise(nn.Module):
    """A depthwise convolution as the sum of some of its rows' convolutions."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        width, middle = conv.kernel_size[1], conv.kernel_size[0] // 2
        for i, rows in enumerate(tiles(conv.kernel_size[0], width)):
            dilation = rows[1] - rows[0] if len(rows) > 1 else 1
            part = nn.Conv2d(
                conv.in_channels,
                conv.out_channels,
                (len(rows), width),
                stride=conv.stride,  # type: ignore[arg-type]
                padding=(middle - rows[0], conv.padding[1]),  # type: ignore[arg-type]
                dilation=(dilation, 1),
                groups=conv.groups,
                bias=i == 0 and conv.bias is not None,
            )
            part.weight = nn.Parameter(conv.weight.detach()[:, :, list(rows)].clone())
            if i == 0 and conv.bias is not None:
                part.bias = nn.Parameter(conv.bias.detach())
            self.parts.append(part)

    def forward(self, x: Tensor) -> Tensor:
        total = self.parts[0](x)
        for part in list(self.parts)[1:]:
            total = total + part(x)
        return total


def tiled(network: nn.Module) -> nn.Module:
    """Rewrite every depthwise convolution of more than MAX_TAPS taps, in place, and return the network."""
    for name, child in network.named_children():
        if isinstance(child, nn.Conv2d) and _is_wide(child):
            setattr(network, name, TiledDepthwise(child))
        else:
            tiled(child)
    return network


def tiles(height: int, width: int) -> list[tuple[int, ...]]:
    """Return the rows of each part of an odd kernel: those around the middle first, then pairs going outwards."""
    middle = height // 2
    together = max(1, MAX_TAPS // width - 1 + MAX_TAPS // width % 2)  # the largest odd number of rows that fits
    inner = range(middle - together // 2, middle + together // 2 + 1)
    if 2 * width > MAX_TAPS:
        return [(row,) for row in range(height)]
    return [tuple(inner), *((row, height - 1 - row) for row in range(inner.start - 1, -1, -1))]


def _is_wide(conv: nn.Conv2d) -> bool:
    height, width = conv.kernel_size
    return (
        conv.groups == conv.in_channels == conv.out_channels
        and height * width > MAX_TAPS
        and height % 2 == 1
        and 2 * width <= MAX_TAPS
        and conv.padding == (height // 2, width // 2)
        and conv.dilation == (1, 1)
    )
