"""Search a supernet for the most accurate networks within a budget of MACs, parameters or measured latency."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from litepose.commands.options import DeviceOption, counted
from litepose.errors import SettingError

if TYPE_CHECKING:
    from rich.console import Console

    from litepose.search.cost import CountedCost, LatencyCost
    from litepose.search.evaluate import SupernetAccuracy
    from litepose.search.evolution import Progress, SearchResult
    from litepose.search.latency import LatencyTable
    from litepose.search.space import SearchSpace

MULTIPLES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9}
LOG = "log.jsonl"


CostOption = Annotated[
    Literal["macs", "macs_reference", "params", "latency"],
    typer.Option("--cost", help="macs: as executed; macs_reference: as the LitePose authors count."),
]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", help="The most a network may cost: 900M, 1.2G, or milliseconds.")
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help="Annotated pictures that decide: a part of the training's, never the validation's."),
]
ImagesOption = Annotated[Path | None, typer.Option("--images", help="Folder of the pictures of --data.")]
RecalibrateOption = Annotated[
    str | None,
    typer.Option("--recalibrate", help="Training pictures on which BN statistics are measured. Default: --data."),
]
RecalibrateImagesOption = Annotated[
    Path | None, typer.Option("--recalibrate-images", help="Folder of the pictures of --recalibrate.")
]
BatchesOption = Annotated[int, typer.Option("--batches", min=1, help="Of 16 pictures, for the BN statistics.")]
MeasureOption = Annotated[
    Literal["AP", "OKS"], typer.Option("--measure", help="What is searched for; mean OKS where AP is still 0.")
]
LimitOption = Annotated[int | None, typer.Option("--limit", min=1, help="Only the first N pictures of --data.")]
SpaceOption = Annotated[
    str | None, typer.Option("--space", help="Name or JSON file of a search space. Default: the supernet's own.")
]
PredictorOption = Annotated[
    bool, typer.Option("--predictor/--no-predictor", help="Let a fitted guess choose what is evaluated.")
]
ProfileOption = Annotated[
    Path | None,
    typer.Option(
        "--profile",
        help="Latency table of --cost latency; measured on this machine where the file is missing. Without --budget "
        "nothing but that is done.",
    ),
]
EngineOption = Annotated[str, typer.Option("--runtime", help="Engine of the latency table: onnx, torch.")]
EngineThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="CPU threads of that engine.")]


def run(
    supernet: Annotated[Path, typer.Argument(help="A supernet's checkpoint (.safetensors).")],
    cost: CostOption = "macs",
    budget: BudgetOption = None,
    data: DataOption = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write.")] = None,
    images: ImagesOption = None,
    recalibrate: RecalibrateOption = None,
    recalibrate_images: RecalibrateImagesOption = None,
    batches: BatchesOption = 8,
    measure: MeasureOption = "AP",
    limit: LimitOption = None,
    space: SpaceOption = None,
    population: Annotated[int, typer.Option("--population", min=2)] = 40,
    generations: Annotated[int, typer.Option("--generations", min=0)] = 40,
    predictor: PredictorOption = True,
    profile: ProfileOption = None,
    runtime: EngineOption = "onnx",
    threads: EngineThreadsOption = 1,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Processes that evaluate.")] = 1,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in the output folder.")] = False,
    device: DeviceOption = "cpu",
) -> None:
    from rich.console import Console

    console = Console()
    if budget is None and profile is None:
        raise SettingError("A search needs --budget, for instance 900M (MACs) or 25 (ms); or --profile alone.")
    opened = _open(supernet, space)
    engine = _Engine(runtime, threads, seed)
    if budget is None:
        assert profile is not None
        summary = _table(opened, profile, engine, console).summary()
        console.print(f"{profile}: {summary}", highlight=False, soft_wrap=True)
        return
    if data is None or output is None:
        raise SettingError("A search needs annotated pictures (--data SPLIT.json) and a folder to write (-o FOLDER).")
    most = parse_budget(budget, cost)
    function = _cost(cost, opened, profile or output / "latency.json", engine, console)
    from litepose.metrics.matching import check_installed
    from litepose.search.evaluate import SupernetAccuracy

    check_installed()
    accuracy = SupernetAccuracy(
        supernet, data, images=images, calibration=recalibrate, calibration_images=recalibrate_images,
        batches=batches, measure=measure, limit=limit, seed=seed, device=device,
        threads=None if workers == 1 else _threads_each(workers),
    )  # fmt: skip
    numbers = {"population": population, "generations": generations, "workers": workers, "seed": seed}
    result = _search(
        opened, accuracy, function, most, output, numbers, guided=predictor, resume=resume, console=console
    )
    _write(result, output, opened, function, most, measure, console)


@dataclass(frozen=True)
class _Opened:
    """What a supernet's file says. settings: the arguments of its networks beside the arch."""

    space: SearchSpace
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class _Engine:
    """By which latencies are measured. seed: of the networks that the table is judged by."""

    runtime: str
    threads: int
    seed: int


def parse_budget(text: str, kind: str) -> float:
    """Return "1.2G", "900M" or, of latencies, "25" or "25ms" as a number. Raises SettingError."""
    pattern = r"(\d+\.?\d*|\.\d+)(?:e\+?(\d+))?\s*" + (r"(?:ms)?()" if kind == "latency" else r"([KMG]?)")
    match = re.fullmatch(pattern, text.strip())
    if match is None or float(match[1]) == 0:
        example = "25 or 25ms" if kind == "latency" else "900M or 1.2G"
        raise SettingError(f"--budget {text!r} is no budget of {kind}. Write for instance {example}.")
    return float(match[1]) * 10.0 ** int(match[2] or 0) * MULTIPLES[match[3]]


def _open(path: Path, space: str | None) -> _Opened:
    from litepose import supernet as supernets

    whole = supernets.load(path)
    chosen = whole.space if space is None else _read_space(space)
    if chosen is None:
        raise SettingError(f"{path} does not say for which search space it was trained. Name it: --space authors.")
    for arch in (chosen.largest(), chosen.smallest()):
        whole.check(arch)
    return _Opened(chosen, whole.network.shared_settings)


def _read_space(space: str) -> SearchSpace:
    from litepose.models import read_arch
    from litepose.search.space import space_from_json

    return space_from_json(read_arch(space) if space.endswith(".json") else space)


def _cost(kind: str, opened: _Opened, profile: Path, engine: _Engine, console: Console) -> CountedCost | LatencyCost:
    from litepose.search.cost import CountedCost, LatencyCost

    if kind != "latency":
        return CountedCost(kind, opened.settings)
    return LatencyCost(_table(opened, profile, engine, console), opened.settings)


def _table(opened: _Opened, path: Path, engine: _Engine, console: Console) -> LatencyTable:
    """Read the latency table, or measure and keep it. Raises SettingError for one of another engine."""
    from litepose.files import check_writable
    from litepose.search.latency import load_table
    from litepose.search.profile import profile

    if path.exists():
        table = load_table(path)
        found = (table.machine.get("runtime"), table.machine.get("threads"))
        if found != (engine.runtime, engine.threads):
            raise SettingError(
                f"{path} holds latencies of the runtime {found[0]} with {found[1]} threads; asked were "
                f"{engine.runtime} and {engine.threads}. Give the table's --runtime and --threads, or another file."
            )
        return table
    check_writable(path)
    with _Bar("parts timed", console) as bar:
        table = profile(
            opened.space, opened.settings, runtime=engine.runtime, threads=engine.threads, seed=engine.seed,
            progress=lambda done, total: bar(done, total),
        )  # fmt: skip
    table.save(path)
    return table


def _threads_each(workers: int) -> int:
    from litepose.runtimes.base import physical_cores

    return max(1, physical_cores() // workers)


def _search(
    opened: _Opened,
    accuracy: SupernetAccuracy,
    cost: CountedCost | LatencyCost,
    budget: float,
    output: Path,
    numbers: Mapping[str, int],
    *,
    guided: bool,
    resume: bool,
    console: Console,
) -> SearchResult:
    from litepose.evaluation.settings import versions
    from litepose.files import check_writable, write_report
    from litepose.search.evolution import evolve
    from litepose.search.predictor import fit_predictor

    check_writable(output / LOG)
    about = {"cost": cost.about(), **accuracy.about()}
    with _Bar("networks", console) as bar:
        try:
            result = evolve(
                opened.space, accuracy, cost, budget=budget, predictor=fit_predictor if guided else None,
                log=output / LOG, resume=resume, about=about, format_cost=cost.text,
                progress=lambda progress: bar(progress.done, progress.total, _said(progress, cost.text)), **numbers,
            )  # fmt: skip
        except KeyboardInterrupt:
            if (output / LOG).exists():
                console.print(f"Stopped; go on with: --resume -o {output}", highlight=False, soft_wrap=True)
            raise
    settings = {**about, **numbers, "budget": budget, "predictor": guided, "space": opened.space.to_json()}
    if cost.kind == "latency":
        settings["machine"] = dict(cost.table.machine)  # type: ignore[union-attr]
    write_report(output / "settings.json", {**settings, "versions": versions()})
    return result


def _said(progress: Progress, text: Callable[[float], str]) -> str:
    best = progress.best
    found = "" if best is None else f"  best {best.accuracy:.4f} at {text(best.cost)}"
    return f"generation {progress.generation}{found}"


def _write(
    result: SearchResult,
    output: Path,
    opened: _Opened,
    cost: CountedCost | LatencyCost,
    budget: float,
    measure: str,
    console: Console,
) -> None:
    from litepose.search.cost import CountedCost
    from litepose.search.outcome import write_outcome

    others = {
        kind: CountedCost(kind, opened.settings) for kind in ("macs", "macs_reference", "params") if kind != cost.kind
    }
    write_outcome(result, output, kind=cost.kind, budget=budget, measure=measure, costs=others)
    for summary in result.generations:
        if "predictor" in summary:
            ranks = summary["predictor"]
            console.print(
                f"generation {summary['generation']}: children ranked with Kendall {ranks['kendall']:.2f}, Spearman "
                f"{ranks['spearman']:.2f}; left out of the fit {ranks['left_out_kendall']:.2f}, "
                f"{ranks['left_out_spearman']:.2f}",
                highlight=False, soft_wrap=True,
            )  # fmt: skip
    best = result.best
    console.print(
        f"{counted(len(result.evaluated), 'network')} evaluated, {len(result.front)} on the front. Best: {measure} "
        f"{best.accuracy:.4f} at {cost.text(best.cost)}, input {best.arch['img_size']} px: "
        f"{output / 'archs' / 'best.json'}",
        highlight=False, soft_wrap=True,
    )  # fmt: skip


class _Bar:
    """How far it is, with rate and time left: a bar on a terminal, else a line from time to time."""

    def __init__(self, what: str, console: Console) -> None:
        self.what, self.console = what, console

    def __enter__(self) -> _Bar:
        import time

        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[text]}"),
        )  # fmt: skip
        self._progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self._task = self._progress.add_task(self.what, total=None, rate="", text="")
        self._clock = time.monotonic
        self._began = self._line_at = self._clock()
        self._first: int | None = None
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int, text: str = "") -> None:
        if self._first is None:
            self._first, self._began = done, self._clock()
        rate = (done - self._first) / max(self._clock() - self._began, 1e-9)
        said = f"{60 * rate:.1f}/min" if rate else ""
        self._progress.update(self._task, completed=done, total=total, rate=said, text=text)
        if not self.console.is_terminal and self._clock() - self._line_at > 20:
            self._line_at = self._clock()
            left = f", {(total - done) / rate / 60:.0f} min left" if rate else ""
            self.console.print(f"{self.what} {done}/{total}  {said}{left}  {text}", highlight=False, soft_wrap=True)
