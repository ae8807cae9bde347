"""Turn a file of another project, or an exported one, into a litepose checkpoint; nothing in it is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litepose.commands.options import ArchOption
from litepose.errors import SettingError


def run(
    file: Annotated[
        str,
        typer.Argument(
            help="A .pth or .pth.tar file of the network's authors or of mmpose, a shipped model, or an .onnx file "
            "exported with --trainable."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
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
) -> None:
    if output.suffix.lower() != ".safetensors":
        raise SettingError(f"-o {output} must end in .safetensors; `litepose export` writes other formats.")
    from litepose.weights import names, path_of

    path = path_of(file) if file in names() else Path(file)
    given = {"--model": model, "--skeleton": skeleton, "--source": source, "--arch": arch}
    if path.suffix.lower() == ".onnx":
        _unfold(path, output, [name for name, value in given.items() if value is not None])
        return
    if model is None or skeleton is None:
        missing = " and ".join(name for name in ("--model", "--skeleton") if given[name] is None)
        raise SettingError(
            f"convert {file} needs {missing}, which a checkpoint of another project does not say. Give for instance "
            "--model litepose_xs --skeleton coco17; only .onnx files of litepose say it themselves."
        )
    _import(path, output, model, skeleton, source or "official", arch)


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


def _import(path: Path, output: Path, model: str, skeleton: str, source: str, arch: Path | None) -> None:
    from litepose import checkpoints, models
    from litepose.skeleton import load_skeleton

    given = models.read_arch(arch) if arch else None
    network, spec = checkpoints.import_official(path, model, load_skeleton(skeleton), source=source, arch=given)
    checkpoints.save(output, network.state_dict(), spec)
    count = sum(parameter.numel() for parameter in network.parameters())
    typer.echo(f"{output}: {model}, {spec.skeleton.name}, {count:,} parameters, {spec.input.colour} ({source})")
