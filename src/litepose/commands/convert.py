"""Turn a checkpoint of a network's authors, or of mmpose, into a litepose checkpoint; nothing in it is executed.

With --inspect, say what a file is instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from litepose.commands.options import ArchOption, JsonOption
from litepose.errors import SettingError

if TYPE_CHECKING:
    from litepose.inspection import Inspection
    from litepose.recognition import Match

SHOWN_NAMES = 6  # of a long list; --json has them all


def run(
    file: Annotated[Path, typer.Argument(help="The .pth, .pth.tar or .safetensors file.")],
    model: Annotated[str | None, typer.Option("-m", "--model", help="Name of its network, e.g. litepose_xs.")] = None,
    skeleton: Annotated[
        str | None, typer.Option("--skeleton", help="coco17, crowdpose14, mpii16, openpose18 or a JSON file.")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .safetensors file to write.")] = None,
    source: Annotated[
        str, typer.Option("--source", help="official or mmpose: whose file it is; decides the colour order.")
    ] = "official",
    arch: ArchOption = None,
    wrapper: Annotated[
        str | None, typer.Option("--wrapper", help="Key of a training checkpoint whose weights to take, e.g. ema.")
    ] = None,
    inspect: Annotated[bool, typer.Option("--inspect", help="Say what the file is; write nothing.")] = False,
    json: JsonOption = None,
) -> None:
    if inspect:
        _inspect(file, json)
        return
    if model is None or skeleton is None or output is None:
        raise SettingError(
            "litepose convert needs -m MODEL, --skeleton NAME and -o FILE.safetensors; to learn which, call: "
            f"litepose convert --inspect {file}"
        )
    if output.suffix.lower() != ".safetensors":
        raise SettingError(f"-o {output} must end in .safetensors; `litepose export` writes other formats.")
    from litepose import checkpoints, models
    from litepose.skeleton import load_skeleton

    given = models.read_arch(arch) if arch else None
    network, spec = checkpoints.import_official(
        file, model, load_skeleton(skeleton), source=source, arch=given, wrapper=wrapper
    )
    checkpoints.save(output, network.state_dict(), spec)
    count = sum(parameter.numel() for parameter in network.parameters())
    origin = spec.provenance.get("imported_wrapper")
    taken = f"{source}, {origin}" if origin else source
    typer.echo(f"{output}: {model}, {spec.skeleton.name}, {count:,} parameters, {spec.input.colour} ({taken})")
    if json is not None:
        from litepose.files import write_report

        write_report(json, {"file": str(output), "params": count, "provenance": dict(spec.provenance)})


def _inspect(file: Path, json: Path | None) -> None:
    from litepose import inspection

    found = inspection.inspect(file)
    if json is not None:
        from litepose.files import write_report

        write_report(json, found.to_json())
    for line in _lines(found):
        typer.echo(line)


def _lines(found: Inspection) -> list[str]:
    """Return the findings as people read them."""
    rows = [("file", f"{found.file}, {found.bytes:,} bytes"), ("kind", f"{found.kind} ({found.layout})")]
    for weights in found.weights:
        place = f" under {weights.wrapper}" if weights.wrapper else ""
        prefix = f", prefix {weights.prefix!r} cut off" if weights.prefix else ""
        kinds = ", ".join(f"{count} {dtype}" for dtype, count in weights.dtypes.items())
        rows.append(
            ("weights", f"{weights.tensors} tensors{place}{prefix}: {kinds}; {weights.parameters:,} parameters")
        )
    if found.spec:
        rows.append(("spec", ", ".join(f"{key} {_plain(value)}" for key, value in found.spec.items())))
    if found.match:
        rows += _match_rows(found.match, found.skeletons)
    if found.others:
        rows.append(("less so", ", ".join(f"{one.model} ({one.source}) {one.score:.0%}" for one in found.others)))
    if found.foreign:
        rows.append(("named", f"{_some(found.foreign)}: read past, not imported"))
    if found.match is None and not found.spec:
        rows += [("first", f"{name} {shape}") for weights in found.weights[:1] for name, shape in weights.first]
    rows += [(what, text) for what, text in (("note", found.advice), ("next", found.command)) if text]
    return [f"{what:<10} {text}" for what, text in rows]


def _match_rows(match: Match, skeletons: tuple[str, ...]) -> list[tuple[str, str]]:
    by_name = "" if match.score == match.named else f", {match.named:.1%} by name"
    rows = [
        ("network", f"{match.model}, names of source {match.source}: {match.score:.1%} of all tensors fit{by_name}")
    ]
    if match.keypoints:
        rows.append(("keypoints", f"{match.keypoints}: {', '.join(skeletons) or 'a skeleton of your own (JSON)'}"))
    for what in ("missing", "unexpected", "misshapen"):
        names = getattr(match, what)
        if names:
            rows.append((what, f"{len(names)}: {_some(names)}"))
    return rows


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")


def _plain(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
