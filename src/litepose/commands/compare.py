"""Say whether two evaluations (eval --json) differ by more than chance: a paired bootstrap over the pictures."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litepose.commands.options import JsonOption, check_range, counted
from litepose.errors import SettingError

if TYPE_CHECKING:
    from litepose.metrics.bootstrap import Difference
    from litepose.metrics.saved_report import SavedReport

FIRST = "A"
OTHERS = "BCDEFGHIJKLMNOPQRSTUVWXYZ"
BAR_AFTER_S = 1.0
LONGEST = 60  # letters of a setting
HASH_LETTERS = 12


def run(
    reports: Annotated[
        list[Path], typer.Argument(help="Two reports of `litepose eval --json`; of more, each against the first.")
    ],
    resamples: Annotated[int, typer.Option("--resamples", min=1, help="How often pictures are drawn.")] = 1000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draws.")] = 0,
    level: Annotated[float, typer.Option("--level", help="Of the intervals.")] = 0.95,
    shared: Annotated[bool, typer.Option("--shared", help="Compare on the pictures that both have.")] = False,
    json: JsonOption = None,
) -> None:
    from litepose.files import check_writable, short_name, write_report
    from litepose.metrics.bootstrap import compare
    from litepose.metrics.saved_report import different_settings, on_the_same_pictures, read_report

    if not 2 <= len(reports) <= 1 + len(OTHERS):
        raise SettingError(f"{counted(len(reports), 'report')} given; compare takes 2 to {1 + len(OTHERS)} files.")
    check_range("--level", level, 0.5, 0.9999)
    if json is not None:
        check_writable(json)
    first, *others = [read_report(path) for path in reports]
    pairs = [on_the_same_pictures(first, other, shared=shared) for other in others]
    written = []
    for letter, other, pair in zip(OTHERS, others, pairs, strict=False):
        with _Bar() as bar:
            differences = compare(*pair, resamples=resamples, seed=seed, level=level, progress=bar)
        settings = different_settings(first, other)
        _print(first, other, letter, differences, len(pair[0]), level)
        _print_settings(settings, letter)
        written.append({
            "first": short_name(first.path), "second": short_name(other.path), "pictures": len(pair[0]),
            "measures": {one.measure: {**one.to_json(), "verdict": verdict(one, letter)} for one in differences},
            "settings": {name: list(values) for name, values in settings.items()},
        })  # fmt: skip
    if json is not None:
        how = {"method": "paired bootstrap over pictures", "resamples": resamples, "seed": seed, "level": level}
        write_report(json, {"protocol": first.protocol, "comparisons": written, "settings": how})


def verdict(one: Difference, letter: str) -> str:
    """Return in words what a difference shows."""
    if not one.is_real:
        return "no difference shown"
    return f"{letter if one.difference > 0 else FIRST} is better"


def _print(
    first: SavedReport,
    other: SavedReport,
    letter: str,
    differences: tuple[Difference, ...],
    num_pictures: int,
    level: float,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from litepose.metrics.bootstrap import FEW_PICTURES

    console = Console()
    for name, report in ((FIRST, first), (letter, other)):
        model = report.settings.get("model")
        about = "" if model is None else f" ({model})"
        console.print(f"{name} = {report.path}{about}", markup=False, highlight=False, soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in (first.protocol, FIRST, letter, f"{letter} - {FIRST}", f"{level * 100:g} % interval"):
        table.add_column(column, justify="left" if column == first.protocol else "right", no_wrap=True)
    table.add_column("")
    for one in differences:
        interval = f"{one.low:+.3f} .. {one.high:+.3f}"
        numbers = f"{one.first:.3f}", f"{one.second:.3f}", f"{one.difference:+.3f}", interval
        table.add_row(one.measure, *numbers, verdict(one, letter))
    console.print(table)
    few = f" Below {FEW_PICTURES} pictures the intervals are too narrow." if num_pictures < FEW_PICTURES else ""
    console.print(f"{counted(num_pictures, 'picture')}, the same for both.{few}", highlight=False)


def _print_settings(settings: dict[str, tuple[Any, Any]], letter: str) -> None:
    from rich.console import Console

    console = Console()
    for name, (one, other) in settings.items():
        if name.endswith("sha256"):
            one, other = ("-" if value is None else value[:HASH_LETTERS] for value in (one, other))
        line = f"  {name}: {FIRST} {_shown(one)}, {letter} {_shown(other)}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _shown(value: Any) -> str:
    return "-" if value is None else textwrap.shorten(str(value), LONGEST, placeholder="...")


class _Bar:
    """A progress bar on standard error that appears where the draws take long."""

    def __enter__(self) -> _Bar:
        import time

        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("resamples"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = Console(stderr=True)
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("resamples", total=None)
        self._clock, self._begin, self._shown = time.monotonic, time.monotonic(), False
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._progress.stop()

    def __call__(self, done: int, total: int) -> None:
        if not self._shown and self._clock() - self._begin > BAR_AFTER_S:
            self._progress.start()
            self._shown = True
        self._progress.update(self._task, completed=done, total=total)
