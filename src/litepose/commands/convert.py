"""Turn a checkpoint of a network's authors, or of mmpose, into a litepose checkpoint; nothing in it is executed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litepose.commands.options import ArchOption
from litepose.errors import SettingError


def run(
    file: Annotated[Path, typer.Argument(help="The .pth or .pth.tar file.")],
    model: Annotated[str, typer.Option("-m", "--model", help="Name of its network, e.g. litepose_xs.")],
    skeleton: Annotated[
        str, typer.Option("--skeleton", help="coco17, crowdpose14, mpii16, openpose18 or a JSON file.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
    source: Annotated[
        str, typer.Option("--source", help="official or mmpose: whose file it is; decides the colour order.")
    ] = "official",
    arch: ArchOption = None,
) -> None:
    if output.suffix.lower() != ".safetensors":
        raise SettingError(f"-o {output} must end in .safetensors; `litepose export` writes other formats.")
    from litepose import checkpoints, models
    from litepose.skeleton import load_skeleton

    given = models.read_arch(arch) if arch else None
    network, spec = checkpoints.import_official(file, model, load_skeleton(skeleton), source=source, arch=given)
    checkpoints.save(output, network.state_dict(), spec)
    count = sum(parameter.numel() for parameter in network.parameters())
    typer.echo(f"{output}: {model}, {spec.skeleton.name}, {count:,} parameters, {spec.input.colour} ({source})")
