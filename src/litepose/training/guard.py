"""Updates on a GPU that nobody waits for: which steps count is decided there, numbers come back for the log only.

A step whose loss or gradient is not finite is undone where it happened, so weights, averages and BN statistics are what
they were before it, as they are where `loop.update` looks at every step's numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor

from litepose.training.state import TrainingState

QUEUED = 2  # steps that the device may be behind: enough to be never idle, few enough that waiting for data shows
ROW, LONGEST, BAD, GOOD, SUMS = range(5)  # places in the tally: SUMS and all after it are sums of loss parts


class GuardedSteps:
    """The second half of each update, after the gradient; `remember` comes before the first half.

    state: its optimizer must be a fused one, which can leave out a step by itself.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self._buffers = _join(list(state.network.buffers()))
        self._before: list[Tensor] = []
        self._device = next(state.network.parameters()).device
        self._names: tuple[str, ...] = ()
        self._tally = torch.zeros(0, dtype=torch.float64, device=self._device)
        self._updates = torch.tensor(float(state.average.updates), dtype=torch.float64, device=self._device)
        self._queue: deque[torch.cuda.Event] = deque()

    def remember(self) -> None:
        """Keep the BN statistics for the case that the step must be undone."""
        self._before = [block.clone() for block in self._buffers]

    @torch.no_grad()
    def apply(self, values: Mapping[str, Tensor]) -> None:
        """Update weights, averages and sums if all values are finite. values: scalars, loss parts and gradient norm."""
        state, optimizer = self.state, self.state.optimizer
        if not self._names:
            self._begin(values)
        numbers = torch.stack([value.detach().float() for value in values.values()])
        good = numbers.isfinite().all()
        # What torch.amp.GradScaler tells fused optimizers: at 1 their kernels leave weights, moments and count alone.
        optimizer.found_inf = (~good).float()  # type: ignore[attr-defined]
        optimizer.step()
        del optimizer.found_inf  # type: ignore[attr-defined]
        for block, before in zip(self._buffers, self._before, strict=True):
            torch.where(good, block, before, out=block)
        state.average.update_if(state.network, good, self._updates)
        self._updates += good
        self._count(numbers, good)
        optimizer.zero_grad(set_to_none=True)
        self._hold_back()

    def settle(self) -> int:
        """Wait for the device, bring its numbers into the state; return the longest row of bad steps since the last."""
        if not self._names:
            return self.state.bad_steps
        row, longest, bad, good, *sums = self._tally.tolist()
        state = self.state
        state.bad_steps = int(row)
        state.skipped += int(bad)
        state.counted += int(good)
        state.average.updates += int(good)
        if good:
            for name, value in zip(self._names, sums, strict=True):
                state.sums[name] = state.sums.get(name, 0.0) + value
        self._tally[LONGEST:] = 0
        return int(longest)

    def _begin(self, values: Mapping[str, Tensor]) -> None:
        self._names = tuple(values)
        self._tally = torch.zeros(SUMS + len(values), dtype=torch.float64, device=self._device)
        self._tally[ROW] = self.state.bad_steps

    def _count(self, numbers: Tensor, good: Tensor) -> None:
        tally = self._tally
        tally[ROW] = torch.where(good, 0.0, tally[ROW] + 1)
        tally[LONGEST] = torch.maximum(tally[LONGEST], tally[ROW])
        tally[BAD] += ~good
        tally[GOOD] += good
        tally[SUMS:] += torch.where(good, numbers, 0.0)

    def _hold_back(self) -> None:
        """Let the device fall no more than QUEUED steps behind."""
        if self._device.type != "cuda":
            return
        event = torch.cuda.Event(blocking=True)
        event.record()
        self._queue.append(event)
        if len(self._queue) > QUEUED:
            self._queue.popleft().synchronize()


def _join(tensors: list[Tensor]) -> list[Tensor]:
    """Move tensors into one block for each type, of which they become views: a block is kept and restored at once."""
    blocks = []
    for kind in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype == kind]
        block = torch.cat([tensor.detach().flatten() for tensor in alike])
        for tensor, part in zip(alike, block.split([tensor.numel() for tensor in alike]), strict=True):
            tensor.data = part.view_as(tensor)
        blocks.append(block)
    return blocks
