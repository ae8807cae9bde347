"""Prepare annotated pictures: pack them for training, verify a file, split it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litepose.commands.options import SkeletonOption

app = typer.Typer()

ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder of the pictures. Default: images/ beside the annotations.")
]


@app.command()
def pack(
    sources: Annotated[list[str], typer.Argument(help="Annotation files, packed folders or synthetic[:options].")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist.")],
    images: ImagesOption = None,
    skeleton: SkeletonOption = None,
    short_side: Annotated[int, typer.Option(help="Pictures are shrunk to this short side, px.")] = 384,
    quality: Annotated[int, typer.Option(help="JPEG quality.")] = 90,
    shard_mb: Annotated[float, typer.Option(help="Size of a shard.")] = 32,
    other_people: Annotated[
        Path | None, typer.Option(help="JSON of boxes of people without annotation; they are ignored.")
    ] = None,
    missing_unlabelled: Annotated[
        bool, typer.Option(help="A keypoint that a person lacks may still be seen: do not learn its channel there.")
    ] = False,
    person_masks: Annotated[bool, typer.Option(help="Keep the people's masks, for composites.")] = False,
) -> None:
    """Write pictures, shrunk, and their people into tar shards that training reads at random."""
    from rich.progress import Progress

    from litepose.datasets import open_dataset
    from litepose.datasets.packed import pack as write

    datasets = [
        open_dataset(
            source,
            images=images,
            skeleton=skeleton,
            other_people=other_people,
            missing_unlabelled=missing_unlabelled,
            person_masks=person_masks,
        )
        for source in sources
    ]
    with Progress(transient=True) as progress:
        task = progress.add_task("packing", total=sum(len(dataset) for dataset in datasets))
        report = write(
            datasets,
            output,
            short_side=short_side,
            quality=quality,
            shard_mb=shard_mb,
            person_masks=person_masks,
            on_picture=lambda: progress.advance(task),
        )
    print(
        f"{report.pictures} pictures with {report.people} people in {report.shards} shards, "
        f"{report.bytes / 1e6:.1f} MB: {report.folder}"
    )
    for line in report.left_out:
        print(f"left out: {line}")
