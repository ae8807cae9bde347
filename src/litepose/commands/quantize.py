"""Make a model file with int8 layers, calibrated on real pictures; kept only if it is as good and no slower."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litepose.commands.options import MAX_THREADS, JsonOption, check_range, counted
from litepose.errors import SettingError, nearest_name

if TYPE_CHECKING:
    from litepose.quantization import QuantizationReport

RUNTIMES = ("onnx",)
SHOWN_LAYERS = 5
QuantizeBoxesOption = Annotated[
    str | None,
    typer.Option(
        "--boxes",
        help="Of top-down models: gt (the annotated ones), a bottom-up MODEL, a DETECTOR.onnx or picture (all of it). "
        "Default: gt; without annotations litepose_xs.",
    ),
]
TargetOption = Annotated[
    str | None, typer.Option("--target", help="x86 or arm: the machine that the file is for. Default: this one's kind.")
]
MaxErrorOption = Annotated[
    float, typer.Option("--max-error", help="Layers stay float until no output changes by more (rms / deviation).")
]


def run(
    model: Annotated[str, typer.Argument(help="A shipped model's name or an .onnx file of `litepose export`.")],
    data: Annotated[
        str,
        typer.Option("--data", help="Pictures to calibrate on: a folder, a COCO or MPII JSON file, a packed folder."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.")],
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the JSON file's pictures.")] = None,
    test: Annotated[
        str | None, typer.Option("--test", help="Pictures to compare on, best annotated. Default: those of --data.")
    ] = None,
    test_images: Annotated[Path | None, typer.Option("--test-images", help="Folder of --test's pictures.")] = None,
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="With people, to calibrate on.")] = 128,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Compare on the first N pictures.")] = None,
    boxes: QuantizeBoxesOption = None,
    target: TargetOption = None,
    method: Annotated[
        str,
        typer.Option(
            "--method", help="How ranges come from values: percentile (all but the outermost 0.01 %) or minmax."
        ),
    ] = "percentile",
    max_error: MaxErrorOption = 0.07,
    runtime: Annotated[str, typer.Option("--runtime", help="Whose format is written: onnx (QDQ).")] = "onnx",
    threads: Annotated[int, typer.Option("--threads", min=1, max=MAX_THREADS, help="CPU threads of the timing.")] = 1,
    keep: Annotated[
        bool, typer.Option("--keep", help="Write the file although it is slower here or loses accuracy.")
    ] = False,
    json: JsonOption = None,
) -> None:
    from litepose.evaluation import open_data
    from litepose.files import check_writable, write_report
    from litepose.predictor import load
    from litepose.quantization import quantize_model

    if runtime not in RUNTIMES:
        raise SettingError(f"No int8 files for the runtime {runtime!r}. {nearest_name(runtime, RUNTIMES)}")
    if boxes is not None and boxes.lower().endswith(".json"):
        raise SettingError(f"--boxes {boxes}: a file of boxes belongs to one set of pictures. Name a detector or gt.")
    if json is not None:
        check_writable(json)
    check_range("--max-error", max_error, 1e-6, 10)

    def told(report: QuantizationReport) -> None:
        _print(report)
        if json is not None:
            write_report(json, report.to_json())

    skeleton = load(model, threads=threads).skeleton
    with _Bar() as bar:
        quantize_model(
            model, open_data(data, images=images, skeleton=skeleton), output,
            test=None if test is None else open_data(test, images=test_images, skeleton=skeleton),
            target=target, method=method, pictures=pictures, boxes=boxes, limit=limit, max_error=max_error,
            threads=threads, keep=keep, on_report=told, progress=bar,
        )  # fmt: skip


def _print(report: QuantizationReport) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(_table(report))
    calibration, timing = report.calibration, report.timing
    print(
        f"calibrated on {counted(calibration['pictures'], 'picture')} of {calibration['data']} with people "
        f"({calibration['looked_at']} looked at, {counted(calibration['inputs'], 'input')})"
    )
    print(
        f"compared on {counted(report.num_pictures, 'picture')} of {report.test}; CPU time on {timing.machine}, "
        f"{counted(timing.threads, 'thread')}"
    )
    print(f"{len(report.layers)} of {counted(report.num_layers, 'layer')} compute with integers")
    costly = sorted(report.costly.items(), key=lambda one: -one[1])
    for name, error in costly[:SHOWN_LAYERS]:
        print(f"  stays float: {name} (alone it changes an output by {error:.2f})")
    if len(costly) > SHOWN_LAYERS:
        print(f"  ... and {len(costly) - SHOWN_LAYERS} more parts of the network")
    if report.target != report.here:
        print(
            f"The file is for {report.target}; this machine is {report.here}, where its speed says nothing. Time it "
            "there: litepose bench"
        )
    for fault in report.faults if report.kept else ():
        print(f"kept as asked, although {fault}")
    if report.kept:
        print(f"{report.path}: {report.num_bytes[1] / 1e6:.2f} MB")


def _table(report: QuantizationReport) -> object:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in (report.model, "float", "int8", ""):
        table.add_column(column, justify="left" if column == report.model else "right", no_wrap=True)
    timing = report.timing
    table.add_row("network, ms", f"{timing.float_ms:.2f}", f"{timing.int8_ms:.2f}", f"x {timing.ratio:.2f}")
    before, after = (number / 1e6 for number in report.num_bytes)
    table.add_row("file, MB", f"{before:.2f}", f"{after:.2f}", f"x {after / before:.2f}")
    for name, (one, other) in report.measures.items():
        table.add_row(name, f"{one:.3f}", f"{other:.3f}", f"{other - one:+.3f}")
    table.add_row("people found", *map(str, report.people), "")
    if report.likeness is not None:
        table.add_row("their mean OKS with the float model's", "", f"{report.likeness:.3f}", "")
    for part, error in report.errors.items():
        table.add_row(f"change of {part}", "", f"{error:.3f}", f"({report.errors_of_all[part]:.3f} with all layers)")
    return table


class _Bar:
    """A progress bar on standard error, one line for each part of the work."""

    def __enter__(self) -> _Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._tasks: dict[str, object] = {}
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total)
        self._progress.update(self._tasks[what], completed=done)  # type: ignore[arg-type]
