"""PyTorch: opens checkpoints as training writes them. For trying them out and as the yardstick of exports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from litepose.errors import MissingPackageError, SettingError
from litepose.runtimes.base import check_outputs, checked_threads

if TYPE_CHECKING:
    import torch
    from torch import nn


class TorchRuntime:
    """A checkpoint with its pose spec, ready to compute."""

    suffixes: ClassVar[tuple[str, ...]] = (".safetensors",)
    also_opens: ClassVar[tuple[str, ...]] = ()
    precisions: ClassVar[tuple[str, ...]] = ("f32",)
    package: ClassVar[str] = "torch"
    requires: ClassVar[str] = "litepose[train]"

    def __init__(self, path: str | Path, *, device: str = "cpu", threads: int | None = None) -> None:
        try:
            import torch

            from litepose import checkpoints
        except ImportError as error:
            raise MissingPackageError(
                f"{path} is a checkpoint, which needs PyTorch. Install it: pip install 'litepose[train]', or export "
                "the checkpoint to .onnx where it was trained."
            ) from error
        self.path = Path(path)
        self.size: tuple[int, int] | None = None
        self.threads = checked_threads(threads)
        if threads is not None:
            torch.set_num_threads(threads)  # PyTorch knows only one number for the whole process
        network, self.spec = checkpoints.load_network(self.path)
        try:
            self._device = torch.device(device)
            self._network = network.eval().to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise SettingError(f"PyTorch cannot compute on the device {device!r}: {error}. Possible: cpu.") from error

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """See Runtime."""
        outputs = compute(self._network, batch, self._device)
        check_outputs(outputs, batch, self.spec, self.path)
        return outputs


RUNTIME = TorchRuntime


def compute(network: nn.Module, batch: np.ndarray, device: torch.device) -> tuple[np.ndarray, ...]:
    """Return a network's outputs for a (B, 3, H, W) batch as float32 arrays."""
    import torch

    with torch.inference_mode():
        images = torch.from_numpy(np.ascontiguousarray(batch)).to(device)
        return tuple(output.float().cpu().numpy() for output in network(images))
