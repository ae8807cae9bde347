"""Cut a network out of a supernet, head included; with --recalibrate its BN statistics are measured anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litepose.commands.options import DeviceOption, counted
from litepose.errors import SettingError

BATCH = 16  # pictures


def run(
    supernet: Annotated[Path, typer.Argument(help="A supernet's checkpoint (.safetensors).")],
    arch: Annotated[
        Path,
        typer.Option("--arch", help="JSON file of an architecture of its space, as `litepose search` writes them."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .safetensors file to write.")],
    recalibrate: Annotated[
        str | None,
        typer.Option(
            "--recalibrate",
            help="Measure BN statistics on these pictures, varied as in training: a JSON file, a packed folder or "
            "synthetic. Never the validation set.",
        ),
    ] = None,
    batches: Annotated[int, typer.Option("--batches", min=1, help=f"Of {BATCH} pictures, for --recalibrate.")] = 20,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the pictures of --recalibrate.")] = None,
    device: DeviceOption = "cpu",
) -> None:
    if output.suffix.lower() != ".safetensors":
        raise SettingError(f"-o {output} must end in .safetensors; `litepose export` writes other formats.")
    if images is not None and recalibrate is None:
        raise SettingError("--images says where the pictures of --recalibrate are. Give both, or leave it out.")
    from litepose import checkpoints, models
    from litepose import supernet as supernets
    from litepose.files import check_writable

    check_writable(output)
    whole = supernets.load(supernet)
    network, spec = whole.sub_network(models.read_arch(arch))
    spec = spec.with_provenance(cut_from=supernet.name)
    if recalibrate is not None:
        from litepose.training.calibration import open_pictures, picture_batches
        from litepose.training.start import open_device

        place = open_device(device)
        samples = open_pictures(recalibrate, spec, images=images)
        pictures = picture_batches(samples, spec.input.size, spec.input, batches=batches, batch=BATCH, device=place)
        supernets.recalibrate(network.to(place), pictures)
        measured = {"data": samples.sources[0].name, "pictures": batches * BATCH}
        spec = spec.with_provenance(recalibrated=measured)
    checkpoints.save(output, network.state_dict(), spec)
    params = sum(parameter.numel() for parameter in network.parameters())
    width, height = spec.input.size
    print(f"{output}: {params:,} parameters, input {width}x{height}, cut out of {supernet}")
    if recalibrate is None:
        print(
            "BN statistics are those that all sub-networks share: give --recalibrate, or fine-tune, before it is used."
        )
    else:
        print(f"BN statistics measured on {counted(batches * BATCH, 'picture')}.")
