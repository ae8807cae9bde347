"""Turn a file of another project, or an exported one, into a litepose checkpoint; nothing in it is executed.

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
    file: Annotated[
        str,
        typer.Argument(
            help="A .pth, .pth.tar or .safetensors file of the network's authors or of mmpose, a shipped model, or an "
            ".onnx file exported with --trainable."
        ),
    ],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The .safetensors file to write.")] = None,
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Name of a .pth's network, e.g. litepose_xs.")
    ] = None,
    skeleton: Annotated[
        str | None,
        typer.Option("--skeleton", help="Of a .pth: coco17, crowdpose14, mpii16, openpose18 or a JSON file."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", help="official or mmpose: whose .pth it is; decides the colour order. [official]"),
    ] = None,
    arch: ArchOption = None,
    wrapper: Annotated[
        str | None, typer.Option("--wrapper", help="Key of a training checkpoint whose weights to take, e.g. ema.")
    ] = None,
    inspect: Annotated[bool, typer.Option("--inspect", help="Say what the file is; write nothing.")] = False,
    json: JsonOption = None,
) -> None:
    from litepose.weights import names, path_of

    path = path_of(file) if file in names() else Path(file)
    if inspect:
        _inspect(path, json)
        return
    if json is not None:
        raise SettingError("--json belongs to --inspect; what a conversion writes says itself what it is.")
    if output is None:
        raise SettingError(
            f"convert {file} needs -o FILE.safetensors. To learn what the file is: litepose convert --inspect {file}"
        )
    if output.suffix.lower() != ".safetensors":
        raise SettingError(f"-o {output} must end in .safetensors; `litepose export` writes other formats.")
    given = {"--model": model, "--skeleton": skeleton, "--source": source, "--arch": arch, "--wrapper": wrapper}
    if path.suffix.lower() == ".onnx":
        _unfold(path, output, [name for name, value in given.items() if value is not None])
        return
    if model is None or skeleton is None:
        missing = " and ".join(name for name in ("--model", "--skeleton") if given[name] is None)
        raise SettingError(
            f"convert {file} needs {missing}, which a checkpoint of another project does not say. Give for instance "
            f"--model litepose_xs --skeleton coco17; `litepose convert --inspect {file}` tells what fits. Only .onnx "
            "files of litepose say it themselves."
        )
    _import(path, output, model, skeleton, source or "official", arch, wrapper)


def _unfold(path: Path, output: Path, unwanted: list[str]) -> None:
    if unwanted:
        raise SettingError(
            f"convert {path} was given {', '.join(unwanted)}; an exported file says itself what it is. Leave "
            f"{'it' if len(unwanted) == 1 else 'them'} out."
        )
    from litepose import checkpoints, unfolding

    state, spec = unfolding.load(path)
    checkpoints.save(output, state, spec)
    typer.echo(f"{output}: {spec.model}, {spec.skeleton.name}, {len(state)} tensors, {spec.input.colour} (unfolded)")


def _import(
    path: Path, output: Path, model: str, skeleton: str, source: str, arch: Path | None, wrapper: str | None
) -> None:
    from litepose import checkpoints, models
    from litepose.skeleton import load_skeleton

    given = models.read_arch(arch) if arch else None
    network, spec = checkpoints.import_official(
        path, model, load_skeleton(skeleton), source=source, arch=given, wrapper=wrapper
    )
    checkpoints.save(output, network.state_dict(), spec)
    count = sum(parameter.numel() for parameter in network.parameters())
    origin = spec.provenance.get("imported_wrapper")
    taken = f"{source}, {origin}" if origin else source
    typer.echo(f"{output}: {model}, {spec.skeleton.name}, {count:,} parameters, {spec.input.colour} ({taken})")


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
