"""What `run.fast_depthwise` gains on a CPU: gradients of depthwise kernels alone, and whole passes of networks.

    python benchmarks/depthwise.py [--networks litepose_xs litepose_s] [--side 128] [--batch 16] [--rounds 7]

One process, one thread, channels last. Both ways take turns; printed are medians of CPU time and the median of the
rounds' ratios with its quartiles. A pass is forward and backward of the network alone. The gradients' largest
difference to float64 is printed for both, as a share of the largest gradient. Needs torch and numba.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Callable, Sequence

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from litepose import models  # noqa: E402
from litepose.training.depthwise import FastDepthwise, weight_gradient  # noqa: E402

# Channels, side of the map, kernel, stride of layers of LitePose at 128 px.
LAYERS = (
    (96, 32, 7, 2),
    (96, 16, 7, 1),
    (144, 16, 7, 2),
    (192, 8, 7, 2),
    (480, 8, 7, 1),
    (96, 64, 7, 1),
    (96, 32, 5, 1),
)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=["litepose_xs", "litepose_s"])
    parser.add_argument("--side", type=int, default=128, help="of the input, px")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for layer in LAYERS:
        compare_layer(*layer, batch=asked.batch, rounds=asked.rounds)
    for name in asked.networks:
        compare_passes(name, asked.side, asked.batch, asked.rounds)


def compare_layer(channels: int, side: int, kernel: int, stride: int, *, batch: int, rounds: int) -> None:
    """Print the times of one layer's weight gradient, and how exact it is."""
    weight = torch.randn(channels, 1, kernel, kernel)
    image = _last(torch.randn(batch, channels, side, side))
    padding = kernel // 2
    gradient = _last(torch.randn(batch, channels, side // stride, side // stride))

    def pytorch(image: Tensor = image, gradient: Tensor = gradient, weight: Tensor = weight) -> Tensor:
        return torch.ops.aten.convolution_backward(
            gradient, image, weight, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], channels,
            [False, True, False],
        )[1]  # fmt: skip

    def ours() -> Tensor:
        return weight_gradient(image, gradient, kernel, stride, padding)

    exact = pytorch(image.double(), gradient.double(), weight.double())
    errors = [float((way() - exact).abs().max() / exact.abs().max()) for way in (pytorch, ours)]
    what = f"{kernel}x{kernel}, stride {stride}, {channels} channels of {side}x{side}"
    print(f"{what:44s}{_compared(pytorch, ours, rounds)}   off by {errors[0]:.0e}, {errors[1]:.0e}")


def compare_passes(name: str, side: int, batch: int, rounds: int) -> None:
    """Print the times of a network's forward and backward pass."""
    network = models.build(name, num_keypoints=17).to(memory_format=torch.channels_last).train()
    images = _last(torch.randn(batch, 3, side, side))

    def one_pass(way: contextlib.AbstractContextManager[object]) -> None:
        with way:
            sum(output.square().mean() for output in network(images)).backward()

    times = _compared(lambda: one_pass(contextlib.nullcontext()), lambda: one_pass(FastDepthwise()), rounds)
    print(f"{f'{name}, {batch} pictures of {side}x{side}':44s}{times}")


def _last(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


def _compared(first: Callable[[], object], second: Callable[[], object], rounds: int) -> str:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 2):
        for way, kept in zip((first, second), times, strict=True):
            begin = time.process_time()
            way()
            if number > 1:  # the first two warm up
                kept.append(1e3 * (time.process_time() - begin))
    low, middle, high = statistics.quantiles([one / other for one, other in zip(*times, strict=True)], n=4)
    medians = [statistics.median(kept) for kept in times]
    return f"{medians[0]:8.1f} ms{medians[1]:8.1f} ms   {middle:5.2f} ({low:.2f}..{high:.2f})"


if __name__ == "__main__":
    main()
