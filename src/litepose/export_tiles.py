"""Wide depthwise convolutions as sums of narrow ones, for engines whose kernels end at 25 taps (XNNPACK's do).

Beyond, XNNPACK falls back to a path that is slower by an order of magnitude, and 7x7 with its 49 taps is LitePose's
core block. Rows and columns of a kernel at equal distances are a kernel of their own with that dilation, and its
padding stays symmetric where they lie symmetrically around the middle, so that the map is neither cropped nor shifted.
XNNPACK has kernels of 4, 9 and 25 taps and takes the next larger one: 7x7 as parts of 21, 20 and 8 taps costs 59 taps,
where three groups of whole rows (21, 14, 14) would cost 75. benchmarks/engines.py measures it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MAX_TAPS = 25
EVEN, ODD, INNER, OUTER, ALL = (0, 2, 4, 6), (1, 3, 5), (1, 2, 3, 4, 5), (0, 6), tuple(range(7))
SEVEN = ((ODD, ALL), (EVEN, INNER), (EVEN, OUTER))  # rows and columns of the parts of 7x7

Part = tuple[tuple[int, ...], tuple[int, ...]]


class TiledDepthwise(nn.Module):
    """A depthwise convolution as the sum of some of its rows' and columns' convolutions."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.parts = nn.ModuleList()
        height, width = conv.kernel_size
        for i, (rows, columns) in enumerate(tiles(height, width)):
            part = nn.Conv2d(
                conv.in_channels,
                conv.out_channels,
                (len(rows), len(columns)),
                stride=conv.stride,  # type: ignore[arg-type]
                padding=(height // 2 - rows[0], width // 2 - columns[0]),
                dilation=(_distance(rows), _distance(columns)),
                groups=conv.groups,
                bias=i == 0 and conv.bias is not None,
            )
            taken = conv.weight.detach()[:, :, list(rows)][..., list(columns)]
            part.weight = nn.Parameter(taken.clone(memory_format=torch.contiguous_format))
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


def tiles(height: int, width: int) -> list[Part]:
    """Return the rows and the columns of each part of an odd kernel."""
    if (height, width) == (7, 7):
        return list(SEVEN)
    middle, columns = height // 2, tuple(range(width))
    if 2 * width > MAX_TAPS:
        return [((row,), columns) for row in range(height)]
    together = max(1, MAX_TAPS // width - 1 + MAX_TAPS // width % 2)  # the largest odd number of rows that fits
    inner = range(middle - together // 2, middle + together // 2 + 1)
    pairs = [(row, height - 1 - row) for row in range(inner.start - 1, -1, -1)]
    return [(rows, columns) for rows in (tuple(inner), *pairs)]


def _distance(places: tuple[int, ...]) -> int:
    """Return how far neighbours among equally distant rows or columns are apart."""
    return places[1] - places[0] if len(places) > 1 else 1


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
