"""How a training's numbers are computed: on which device, in which precision, by which kernels.

Weights, averages, gradients and the optimizer are float32 always. With reduced precision (torch.autocast) convolutions
compute in it; batch normalisation takes its statistics in float32, and losses are float32.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from litepose.errors import SettingError
from litepose.training.depthwise import FastDepthwise
from litepose.training.recipe import RunSection

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# fp16 loses what is below 6e-8: losses are enlarged by this, by twice as much after GROWTH_STEPS good steps, and by
# half as much after a step whose gradient overflowed. PyTorch begins at 65536, which costs the first steps.
FIRST_SCALE, GROWTH_STEPS = 1024.0, 2000


def open_device(name: str, precision: str = "fp32") -> torch.device:
    """Return the device of this name. Raises SettingError where PyTorch cannot compute there, or not so."""
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingError(f"--device {name}: PyTorch cannot compute there ({error}). Possible here: cpu.") from error
    if precision == "fp16" and device.type == "cpu":
        raise SettingError(
            "run.precision = 'fp16' was asked for on the CPU, where it is slow and gains nothing. Take 'bf16' or "
            "'fp32', or --device cuda."
        )
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def precision_of(name: str, device: torch.device) -> torch.autocast:
    """Return the context in which a network computes in the precision of this name."""
    return torch.autocast(device.type, PRECISIONS[name], enabled=name != "fp32")


def make_scaler(run: RunSection, device: torch.device) -> torch.amp.GradScaler:
    """Return what enlarges losses and brings gradients back; it does nothing but in fp16."""
    enabled = run.precision == "fp16"
    return torch.amp.GradScaler(device.type, FIRST_SCALE, growth_interval=GROWTH_STEPS, enabled=enabled)


@contextlib.contextmanager
def chosen_kernels(run: RunSection, device: torch.device) -> Iterator[None]:
    """Let a GPU look for its fastest convolutions, or every device use those alone that give the same each time."""
    if device.type == "cuda":
        reduced = run.precision != "fp32"
        torch.backends.cudnn.benchmark = not run.deterministic
        torch.backends.cudnn.allow_tf32 = reduced
        torch.set_float32_matmul_precision("high" if reduced else "highest")
    if not run.deterministic:
        with _depthwise(run, device):
            yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # the warning names what has no such kernel
    try:
        with _depthwise(run, device):
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def _depthwise(run: RunSection, device: torch.device) -> contextlib.AbstractContextManager[object]:
    return FastDepthwise() if run.fast_depthwise and device.type == "cpu" else contextlib.nullcontext()
