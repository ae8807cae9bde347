"""Show what a network or a model file is: parameters, MACs, published figures, provenance."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litepose.commands.options import ArchOption, JsonOption, SizeOption, SkeletonOption, parse_size
from litepose.errors import MissingPackageError, SettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litepose.counting import Counts, LayerCount
    from litepose.published.rows import Row
    from litepose.spec import PoseSpec

FILE_SUFFIXES = (".safetensors", ".onnx", ".xml", ".param", ".tflite")
LAYER_TABLE_WIDTH = 128


@dataclass(frozen=True)
class Info:
    """What is known of a network.

    counts: None where it cannot be built here. published: the authors' figures, {} where they printed none for this
    skeleton and size; its "size" is the input that they hold for.
    """

    spec: PoseSpec
    size: tuple[int, int]
    counts: Counts | None
    published: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        counts, published = self.counts, dict(self.published)
        return {
            "model": self.spec.model,
            "skeleton": self.spec.skeleton.name,
            "size": list(self.size),
            "params": counts and counts.params,
            "macs": counts and counts.macs,
            "macs_reference": counts and counts.macs_reference,
            "macs_rule": counts and counts.rule,
            "macs_published": published.pop("macs", None),
            "published": published,
            "provenance": dict(self.spec.provenance),
        }


def run(
    model: Annotated[
        str | None, typer.Argument(help="A network's name, e.g. litepose_xs, or a .safetensors or .onnx file.")
    ] = None,
    skeleton: SkeletonOption = None,
    size: SizeOption = None,
    arch: ArchOption = None,
    layers: Annotated[bool, typer.Option("--layers", help="One line for each layer, then for each part.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="Every network whose authors printed figures, in place of MODEL.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="With --all: as a Markdown page.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="With --markdown: write the page to this file.")
    ] = None,
    measure: Annotated[
        Path | None,
        typer.Option("--measure", help="With --all: measure the latencies that this JSON file lacks, keep them in it."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="With --all: draw AP over MACs and over speed into this folder.")
    ] = None,
    json: JsonOption = None,
) -> None:
    from litepose.files import write_report

    if all_:
        if model is not None or skeleton or size or arch or layers:
            raise SettingError("--all is for every network as published; leave out MODEL, --size and the like.")
        _all_published(markdown=markdown, output=output, measure=measure, figures=figures, json=json)
        return
    if model is None or markdown or output or measure or figures:
        raise SettingError(
            "Name a network or a model file, e.g. litepose info litepose_xs, or take --all, to which --markdown, -o, "
            "--measure and --figures belong."
        )
    info = describe(model, skeleton=skeleton, size=parse_size(size), arch=arch)
    _print(info, layers=layers)
    if json is not None:
        write_report(json, info.to_json())


def describe(
    model: str, *, skeleton: str | None = None, size: tuple[int, int] | None = None, arch: Path | None = None
) -> Info:
    """Return what is known of a network's name or a model file.

    skeleton: coco17 where it is None; a file has its own. size: (w, h), the model's own where it is None.
    Raises ModelError, SettingError, InputSizeError, MissingPackageError.
    """
    is_file = model.lower().endswith(FILE_SUFFIXES)
    if is_file and (skeleton or arch):
        raise SettingError(f"{model} states its own skeleton and architecture; leave out --skeleton and --arch.")
    spec = _spec_of_file(Path(model)) if is_file else _spec_of_name(model, skeleton, size, arch)
    size = size or spec.input.size
    return Info(spec=spec, size=size, counts=_counts(spec, size), published=_published(spec, size))


def _all_published(
    *, markdown: bool, output: Path | None, measure: Path | None, figures: Path | None, json: Path | None
) -> None:
    """Print or write the tables of everything published. Raises SettingError, MissingPackageError."""
    from rich.console import Console

    from litepose.files import check_writable, write_report, write_text
    from litepose.published.figures import draw_figures
    from litepose.published.markdown import page
    from litepose.published.measure import measure as measured
    from litepose.published.measure import nothing_measured
    from litepose.published.rows import gather

    if output is not None and not markdown:
        raise SettingError(f"-o {output} takes the Markdown page; add --markdown, or take --json FILE for the numbers.")
    for path in (output, json):
        if path is not None:
            check_writable(path)
    console = Console(stderr=True, highlight=False)
    with console.status("counting") as status:
        rows = gather(lambda name: status.update(f"counting {name}"))
    latencies = nothing_measured() if measure is None else measured(rows, measure, lambda text: console.print(text))
    drawn = {} if figures is None else draw_figures(rows, latencies, figures)
    if json is not None:
        write_report(json, {"networks": [row.to_json() for row in rows], "measured": latencies.to_json()})
    if not markdown:
        Console(highlight=False).print(_published_table(rows))
        return
    text = page(rows, latencies, drawn, folder=Path() if output is None else output.parent)
    if output is None:
        typer.echo(text, nl=False)
    else:
        write_text(output, text)
        print(f"{len(rows)} rows -> {output}")


def _published_table(rows: Sequence[Row]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("network", "input", "data"):
        table.add_column(name)
    for name in ("parameters", "MACs", "published"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        name, value = next(iter(row.stats.items()), ("", 0.0))
        figures = [f"{row.params / 1e6:.2f} M", f"{row.macs / 1e9:.2f} G", f"{name} {value:.3f}"]
        table.add_row(row.model, f"{row.size[0]}x{row.size[1]}", row.data.partition(",")[0], *figures)
    return table


def _spec_of_name(name: str, skeleton: str | None, size: tuple[int, int] | None, arch: Path | None) -> PoseSpec:
    from litepose import checkpoints, models
    from litepose.skeleton import load_skeleton

    given = models.read_arch(arch) if arch else None
    return checkpoints.default_spec(name, load_skeleton(skeleton or "coco17"), size=size, arch=given)


def _spec_of_file(path: Path) -> PoseSpec:
    if path.suffix.lower() != ".safetensors":
        from litepose.runtimes import open_runtime

        return open_runtime(path).spec
    from litepose import checkpoints

    return checkpoints.load(path)[1]


def _counts(spec: PoseSpec, size: tuple[int, int]) -> Counts | None:
    """Count the spec's network; None where it names none or torch is absent (an exported file needs neither)."""
    if not spec.model:
        return None
    try:
        from litepose import checkpoints, counting
    except (MissingPackageError, ModuleNotFoundError):
        return None
    return counting.count(checkpoints.build_network(spec), size, rule=counting.rule_of(spec.model))


def _published(spec: PoseSpec, size: tuple[int, int]) -> dict[str, Any]:
    """Return the authors' figures for this variant, number of keypoints and, where they differ by it, input size."""
    if not spec.model:
        return {}
    try:
        from litepose import models
    except MissingPackageError:
        return {}
    family = models.family_of(spec.model)
    if any(setting in spec.network for variant in family.VARIANTS.values() for setting in variant):
        return {}  # another arch than the printed one
    figures = dict(getattr(family, "PUBLISHED", {}).get(spec.model, {}).get(spec.skeleton.num_keypoints, {}))
    if "sizes" in figures:
        of_size = figures.pop("sizes").get(size)
        return {**figures, "size": list(size), **of_size} if of_size else {}
    return {"size": list(family.DEFAULT.sizes[spec.model]), **figures} if figures else {}


def _print(info: Info, *, layers: bool) -> None:
    from rich.console import Console
    from rich.table import Table

    report, spec = info.to_json(), info.spec
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("model", report["model"] or "(exported, network unknown)")
    table.add_row("skeleton", f"{spec.skeleton.name}, {spec.skeleton.num_keypoints} keypoints")
    table.add_row("codec", f"{spec.codec.name}, {spec.codec.mode}")
    table.add_row("input", f"{info.size[0]}x{info.size[1]} {spec.input.colour}, {spec.input.resize}")
    for output in spec.outputs:
        table.add_row("output", f"{output.name}: {output.channels} channels, stride {output.stride}")
    table.add_row("parameters", _whole(report["params"]))
    table.add_row("MACs", f"{_whole(report['macs'])}  (multiply-accumulates as executed)")
    _add_reference_counts(table, info, report)
    for what, facts in (("published", report["published"]), ("provenance", report["provenance"])):
        for key, value in facts.items():
            if (what, key) != ("published", "size"):  # stands beside the MACs
                table.add_row(f"{what}: {key}", _readable(value))
    console = Console()
    console.print(table)
    if layers and info.counts:
        wide = Console(width=max(console.width, LAYER_TABLE_WIDTH))  # narrow terminals wrap it, nothing is cut
        from litepose.counting import by_part

        wide.print(_layer_table("layer", info.counts.layers))
        wide.print(_layer_table("part", by_part(info.counts.layers)))


def _add_reference_counts(table: Any, info: Info, report: dict[str, Any]) -> None:
    """Add what the authors' way of counting gives here, and what they printed, both in their unit."""
    if info.counts is None:
        table.add_row("MACs, reference rule", _whole(None))
        return
    from litepose.counting import RULES

    rule, counted, printed = RULES[info.counts.rule], info.counts.macs_reference, report["macs_published"]
    table.add_row("MACs, reference rule", f"{_whole(counted)} = {rule.printed(counted)}  ({rule.says})")
    if printed:
        width, height = report["published"]["size"]
        table.add_row("MACs, published", f"{_whole(printed)} = {rule.printed(printed)}  (at {width}x{height})")


def _readable(value: Any) -> str:
    """Return a plain JSON value as a line; what is nested deeper than a line can show is left to --json."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if any(isinstance(part, dict | list) for part in parts):
        return "(see --json)"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_readable(part)}" for key, part in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(map(_readable, value)) or "-"
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _layer_table(what: str, layers: tuple[LayerCount, ...]) -> Any:
    from rich.table import Column, Table

    numbers = [Column(name, justify="right", no_wrap=True) for name in ("parameters", "MACs", "reference rule")]
    table = Table(
        Column(what, overflow="fold"),
        Column("kind", no_wrap=True),
        Column("output", no_wrap=True),
        *numbers,
        box=None,
    )
    for layer in layers:
        shape = "x".join(str(side) for side in layer.output_shape)
        table.add_row(
            layer.name, layer.kind, shape, _whole(layer.params), _whole(layer.macs), _whole(layer.macs_reference)
        )
    return table


def _whole(number: float | None) -> str:
    return "-" if number is None else f"{int(number):,}"
