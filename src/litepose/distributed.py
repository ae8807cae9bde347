"""One job on several processes, as torchrun starts them: which part is mine, and how parts come together.

The processes find each other by torchrun's environment variables (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT); with one
process, or without torchrun, nothing is imported and nothing connects.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from litepose.errors import MissingPackageError, SettingError, TrainingError
from litepose.runtimes.base import physical_cores

if TYPE_CHECKING:
    from torch import Tensor

LONGEST_WAIT = timedelta(hours=24)  # of the first that is ready for the last

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """One process's part of a job. rank: its number, from 0; count: of processes; local: the same on its machine."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all: it prints and writes."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Return this process's own device of a kind: "cuda" is one for each process of a machine."""
        return f"cuda:{self.local_rank}" if name == "cuda" and self.count > 1 else name

    def threads(self, given: int | None) -> int | None:
        """Return how many threads this process may use: those given, or its part of the machine's cores."""
        if given is not None or self.count == 1:
            return given
        return max(1, physical_cores() // self.local_count)

    def part(self, total: int) -> Sequence[int]:
        """Return which of `total` things are mine: every `count`-th, so that parts are equally hard."""
        return range(self.rank, total, self.count)

    def connect(self, *, longest_wait: timedelta = LONGEST_WAIT, device: str = "cpu") -> None:
        """Find the others; before it nothing can be told.

        longest_wait: for the last of them, after which all give up. device: "cuda" = tensors there can travel too.
        Raises MissingPackageError without torch.
        """
        if self.count == 1:
            return
        try:
            import torch.distributed as processes
        except ImportError as error:
            raise MissingPackageError(
                "Several processes were started; they need PyTorch to find each other. Install it: "
                "pip install 'litepose[train]'."
            ) from error
        if not processes.is_initialized():
            backend = "cpu:gloo,cuda:nccl" if device.startswith("cuda") else "gloo"
            processes.init_process_group(backend, timeout=longest_wait)

    def gathered(self, value: T) -> list[T]:
        """Return everybody's value, in order of rank, to the first process, and an empty list to the others.

        All processes must call it. The values travel as pickles between processes of this one job.
        """
        if self.count == 1:
            return [value]
        import torch.distributed as processes

        everybody: list[T] = [value] * self.count
        processes.gather_object(value, everybody if self.is_first else None)
        return everybody if self.is_first else []

    def agreed(self, value: T) -> T:
        """Return the first process's value to all, which must call this; it travels as a pickle inside the job."""
        if self.count == 1:
            return value
        import torch.distributed as processes

        told = [value]
        processes.broadcast_object_list(told, src=0)
        return told[0]

    def largest(self, value: int) -> int:
        """Return the largest value that any process gives, to all; they wait for each other on the CPU."""
        if self.count == 1:
            return value
        import torch
        import torch.distributed as processes

        number = torch.tensor(value)
        processes.all_reduce(number, op=processes.ReduceOp.MAX)
        return int(number)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Give each tensor the mean of all processes' in place, equal bit by bit everywhere.

        All of one type and on one device, of the same shapes in all processes. They travel as one message.
        """
        if self.count == 1 or not tensors:
            return
        import torch
        import torch.distributed as processes

        with torch.no_grad():
            flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
            processes.all_reduce(flat)
            flat /= self.count
            means = flat.split([tensor.numel() for tensor in tensors])
            for tensor, mean in zip(tensors, means, strict=True):
                tensor.copy_(mean.view_as(tensor))

    @contextlib.contextmanager
    def hearing_of_deaths(self) -> Iterator[None]:
        """A context in which the end of another process is a TrainingError; without it these would wait or crash."""
        try:
            yield
        except RuntimeError as error:
            if self.count == 1 or not _is_about_others(error):
                raise
            raise TrainingError(
                f"Process {self.rank} of {self.count} lost the others: one of them ended, or was silent for too long "
                f"({str(error).splitlines()[0]}). What that one said before is the reason. Start all of them again; "
                "a training with --resume."
            ) from error

    def close(self) -> None:
        """Leave the others; they may end before or after."""
        if self.count > 1:
            import torch.distributed as processes

            processes.destroy_process_group()


def open_share() -> Share:
    """Return this process's share of a job that torchrun started, connected with the others, else all of it.

    Raises SettingError for variables that make no sense, MissingPackageError without torch.
    """
    share = share_of_environment()
    share.connect()
    return share


def share_of_environment() -> Share:
    """Return this process's share as torchrun's variables say, not connected yet. Raises SettingError."""
    names = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    texts = [os.environ.get(name, default) for name, default in names.items()]
    if not all(text.isdecimal() for text in texts) or not int(texts[0]) < int(texts[1]):
        found = ", ".join(f"{name}={text!r}" for name, text in zip(names, texts, strict=True))
        raise SettingError(f"The environment says {found}; a rank is a number below WORLD_SIZE. Start with torchrun.")
    rank, count, local_rank, local_count = (int(text) for text in texts)
    return Share(rank, count, local_rank, max(1, local_count))


def _is_about_others(error: RuntimeError) -> bool:
    """Return whether a collective failed, which gloo says as a plain RuntimeError."""
    import torch.distributed as processes

    return isinstance(error, processes.DistError) or "gloo" in str(error)
