"""What a training says: a progress bar or lines on the console, `log.jsonl` always, TensorBoard where installed."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from litepose import files

LINE_SECONDS = 20.0  # between lines where the console is no terminal


class RunLog:
    """The records of one run; a context.

    work: the run's amount of work, done: how much of it lies behind (any unit): for the time left.
    step: a resumed run begins after it; later records of the interrupted run are dropped.
    folder: None = keep nothing, as all processes but the first. console: None = say nothing.
    """

    def __init__(
        self, folder: Path | None, *, work: float, done: float = 0, step: int = 0, console: Console | None = None
    ) -> None:
        self.path = None if folder is None else folder / "log.jsonl"
        self._file: IO[str] | None = None
        self._tensorboard = None if folder is None else _tensorboard(folder / "tensorboard", step)
        if self.path is not None:
            _drop_after(self.path, step)
        self._console = console
        self._bar = _bar(console) if console is not None and console.is_terminal else None
        self._task = None if self._bar is None else self._bar.add_task("", total=work, completed=int(done))
        self._work, self._begun, self._begun_at, self._line_at = work, done, time.monotonic(), 0.0

    def __enter__(self) -> RunLog:
        if self.path is not None:
            self._file = self.path.open("a", encoding="utf-8")
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._tensorboard is not None:
            self._tensorboard.close()
        if self._file is not None:
            self._file.close()

    def record(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Keep one record: a line of the JSONL file, numbers also for TensorBoard."""
        if self.path is None:
            return
        assert self._file is not None, "record is called inside the context"
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        if self._tensorboard is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._tensorboard.add_scalar(f"{kind}/{name}", value, step)

    def pictures(self, kind: str, step: int, pictures: Callable[[], Iterable[tuple[str, np.ndarray]]]) -> None:
        """Keep pictures, (name, (H, W, 3) uint8 BGR), for TensorBoard; made only where it is installed."""
        if self._tensorboard is not None:
            for name, image in pictures():
                self._tensorboard.add_image(f"{kind}/{name}", image[..., ::-1].copy(), step, dataformats="HWC")

    def progress(self, done: float, text: str) -> None:
        """Show how far the run is, with the latest numbers as text."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, description=text)
        elif self._console is not None and time.monotonic() - self._line_at > LINE_SECONDS:
            self._line_at = time.monotonic()
            self._console.print(
                f"{100 * done / self._work:5.1f} %  {text}  {self._left(done)} left", highlight=False, soft_wrap=True
            )

    def say(self, text: str) -> None:
        """Print one line."""
        if self._console is not None:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _left(self, done: float) -> str:
        passed = time.monotonic() - self._begun_at
        if done <= self._begun:
            return "?"
        seconds = int(passed * (self._work - done) / (done - self._begun))
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def describe(values: Mapping[str, float]) -> str:
    """Return numbers as a short text: "total 0.0123  push 0.0004"."""
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items())


def _drop_after(path: Path, step: int) -> None:
    """Keep the records up to `step`; a torn last line goes too."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            if int(json.loads(line)["step"]) <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    files.write_text(path, "".join(kept))


def _bar(console: Console) -> Progress:
    return Progress(
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>5.1f} %"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=4,
    )


def _tensorboard(folder: Path, step: int) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step)
