"""The weights' gradient of depthwise convolutions on a CPU, which PyTorch computes many times slower than it could.

LitePose's 7x7 kernels spend most of a CPU training there: with channels last, PyTorch 2.13 takes 2.7 to 5 times as long
as the plain loops below, which Numba compiles (`benchmarks/depthwise.py`). Only this gradient is replaced; the forward
pass and the input's gradient are PyTorch's. Sums run in another order, so values differ by rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from litepose.errors import MissingPackageError

SMALLEST_KERNEL = 5  # at 3x3 PyTorch is as fast


class FastDepthwise(TorchFunctionMode):
    """While this context is open, depthwise convolutions on the CPU take their weights' gradient from here."""

    def __init__(self) -> None:
        super().__init__()
        compiled()  # says now, and not in the first step, that Numba is missing

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if function is torch.nn.functional.conv2d and not kwargs and _is_ours(*args):
            image, weight, _, stride, padding, *_ = args
            return _Depthwise.apply(image, weight, stride, padding)
        return function(*args, **(kwargs or {}))


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.stride, ctx.padding = stride, padding
        return torch.conv2d(image, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        image, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        of_image = of_weight = None
        if ctx.needs_input_grad[0]:
            of_image = torch.ops.aten.convolution_backward(
                gradient, image, weight, None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), len(weight),
                (True, False, False),
            )[0]  # fmt: skip
        if ctx.needs_input_grad[1]:
            of_weight = weight_gradient(image, gradient, weight.shape[-1], ctx.stride[0], ctx.padding[0])
        return of_image, of_weight, None, None


def _is_ours(
    image: Tensor, weight: Tensor, bias: Tensor | None = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
    groups: int = 1,
) -> bool:  # fmt: skip
    """Tell whether a convolution is depthwise, square, undilated, without bias, in float32 on the CPU, and trained."""
    return (
        groups == len(weight) == image.shape[1]
        and SMALLEST_KERNEL <= weight.shape[2] == weight.shape[3]
        and bias is None
        and image.device.type == "cpu"
        and image.dtype == weight.dtype == torch.float32
        and isinstance(stride, tuple)
        and isinstance(padding, tuple)
        and stride[0] == stride[1]
        and padding[0] == padding[1]
        and dilation in (1, (1, 1))
        and torch.is_grad_enabled()
        and weight.requires_grad
        and not torch.is_autocast_enabled("cpu")
    )


def weight_gradient(image: Tensor, gradient: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Return the gradient (C, 1, kernel, kernel) of a depthwise convolution's weights.

    image: (B, C, H, W), the convolution's input. gradient: (B, C, h, w), that of its output. Both float32; with
    channels last nothing is copied.
    """
    images = _channels_last(image)
    gradients = _channels_last(gradient)
    sums = np.zeros((len(images), kernel, kernel, images.shape[-1]), np.float32)
    parts = list(zip(images, gradients, sums, strict=True))
    work = functools.partial(_add_one, compiled(), stride, padding)
    if torch.get_num_threads() == 1:
        for part in parts:
            work(part)
    else:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(work, parts))
    return torch.from_numpy(sums.sum(axis=0)).permute(2, 0, 1).unsqueeze(1).contiguous()


def _channels_last(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1).numpy()


def _add_one(
    add: Callable[..., None], stride: int, padding: int, part: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    add(*part, stride, padding)


@functools.cache
def compiled() -> Callable[..., None]:
    """Return `_add` as machine code, which lets other threads run. Raises MissingPackageError without Numba."""
    try:
        import numba
    except ImportError as error:
        raise MissingPackageError(
            "run.fast_depthwise = true needs Numba, which is not installed: pip install 'litepose[fast]', or go on "
            "without it, more slowly: --set run.fast_depthwise=false."
        ) from error
    return numba.njit(fastmath=True, nogil=True)(_add)  # type: ignore[no-any-return]


def _add(image: np.ndarray, gradient: np.ndarray, sums: np.ndarray, stride: int, padding: int) -> None:
    """Add one picture's part: image (H, W, C), gradient (h, w, C) to sums (kernel, kernel, C)."""
    height, width, channels = image.shape
    kernel = sums.shape[0]
    for y in range(gradient.shape[0]):
        for i in range(kernel):
            from_y = y * stride + i - padding
            if from_y < 0 or from_y >= height:
                continue
            for x in range(gradient.shape[1]):
                for j in range(kernel):
                    from_x = x * stride + j - padding
                    if from_x < 0 or from_x >= width:
                        continue
                    for c in range(channels):
                        sums[i, j, c] += gradient[y, x, c] * image[from_y, from_x, c]
