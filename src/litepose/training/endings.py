"""What ends a training too early, as errors that say how to go on."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

from litepose.errors import TrainingError

NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextlib.contextmanager
def explained(folder: Path, step: Callable[[], int]) -> Iterator[None]:
    """Turn the end of a loader process, and a disk that takes nothing more, into a TrainingError. step: done so far."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingError(
            f"A process that prepares pictures died after step {step()}: {str(error).rstrip(' .')}. If memory ran out, "
            "lower run.workers or run.batch. Add --resume to go on from the last checkpoint."
        ) from error
    except OSError as error:
        if error.errno not in NOT_WRITTEN:
            raise
        raise TrainingError(
            f"Nothing more can be written to {folder} after step {step()}: {error.strerror}. Make room, then go on "
            "from the last checkpoint with --resume."
        ) from error


def diverged(folder: Path, step: int, bad_steps: int) -> TrainingError:
    """Return the error of a training whose numbers are none any more."""
    return TrainingError(
        f"The loss or its gradient was not finite in {bad_steps} steps in a row, the last being step {step}. The "
        f"weights before them are in {folder}. Lower optim.lr, set optim.clip_norm, or train in fp32."
    )
