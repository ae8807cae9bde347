"""Prepare annotated pictures: pack them for training, verify a file, check its labels, split it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litepose.commands.options import JsonOption, SkeletonOption, check_range, counted

if TYPE_CHECKING:
    from litepose.datasets.verify import Finding

app = typer.Typer()

ImagesOption = Annotated[
    Path | None, typer.Option("--images", help="Folder of the pictures. Default: images/ beside the annotations.")
]
OtherPeopleOption = Annotated[
    Path | None, typer.Option(help="JSON of boxes of people without annotation; they are ignored.")
]


@app.command()
def pack(
    sources: Annotated[list[str], typer.Argument(help="Annotation files, packed folders or synthetic[:options].")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write; must not exist.")],
    images: ImagesOption = None,
    skeleton: SkeletonOption = None,
    short_side: Annotated[
        int | None, typer.Option(help="Pictures are shrunk to this short side, px. Default: 384, or what --for needs.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--for", help="Recipe that will train on them: no smaller than its nearest zoom sees.")
    ] = None,
    quality: Annotated[int, typer.Option(help="JPEG quality.")] = 90,
    shard_mb: Annotated[float, typer.Option(help="Size of a shard.")] = 32,
    other_people: OtherPeopleOption = None,
    missing_unlabelled: Annotated[
        bool, typer.Option(help="A keypoint that a person lacks may still be seen: do not learn its channel there.")
    ] = False,
    person_masks: Annotated[bool, typer.Option(help="Keep the people's masks, for composites.")] = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="Keep pixels, not JPEGs: quicker to read, ten times the size.")
    ] = False,
) -> None:
    """Write pictures, shrunk, and their people into tar shards that training reads at random."""
    from rich.progress import Progress

    from litepose.datasets import open_dataset
    from litepose.datasets.packed import pack as write

    check_range("--shard-mb", shard_mb, 1e-3, 1e6)
    side = _side_to_pack(short_side, recipe)
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
            short_side=side,
            quality=quality,
            shard_mb=shard_mb,
            person_masks=person_masks,
            raw=raw,
            on_picture=lambda: progress.advance(task),
        )
    print(
        f"{counted(report.pictures, 'picture')} with {counted(report.people, 'person', 'people')} "
        f"in {counted(report.shards, 'shard')}, "
        f"{report.bytes / 1e6:.1f} MB, short side {side} px: {report.folder}"
    )
    for line in report.left_out:
        print(f"left out: {line}")


def _side_to_pack(short_side: int | None, recipe: str | None) -> int:
    """Return the short side that was asked for, or that a recipe needs."""
    from litepose.datasets.packed import SHORT_SIDE
    from litepose.errors import SettingError

    if recipe is None:
        return SHORT_SIDE if short_side is None else short_side
    if short_side is not None:
        raise SettingError(f"--short-side {short_side} and --for {recipe} both say how large pictures are: give one.")
    from litepose.training.recipe import load_recipe
    from litepose.training.sources import side_to_pack
    from litepose.training.start import make_spec

    loaded = load_recipe(recipe)
    return side_to_pack(loaded, make_spec(loaded).input)


@app.command()
def verify(
    what: Annotated[
        str, typer.Argument(help="A COCO or CrowdPose keypoint file or an MPII list; or coco, crowdpose or mpii.")
    ],
    root: Annotated[
        Path | None, typer.Argument(help="Of coco, crowdpose or mpii: the folder of the whole download.")
    ] = None,
    images: ImagesOption = None,
    deep: Annotated[
        bool | None,
        typer.Option("--deep/--headers", help="Decode the pictures, the default for a file; or read their headers."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Look for what is wrong with an annotation file or a download; exit code 2 where something is broken."""
    from litepose.datasets.layouts import LAYOUTS
    from litepose.datasets.verify import verify as look
    from litepose.errors import SettingError
    from litepose.files import check_writable, write_report

    if json is not None:
        check_writable(json)
    if root is None and what in LAYOUTS and not Path(what).is_file():
        raise SettingError(
            f"data verify {what} wants the folder of the download too, for instance: data verify {what} "
            f"{LAYOUTS[what].root}."
        )
    if root is None:
        report: Any = look(what, images=images, deep=deep is not False)
        print_findings(what, report.counts, report.findings)
    else:
        report = _verify_download(what, root, images=images, deep=deep is True)
    if json is not None:
        write_report(json, report.to_json())
    raise typer.Exit(2 if report.broken else 0)


def _verify_download(name: str, root: Path, *, images: Path | None, deep: bool) -> Any:
    """Print what a download is like and return the report."""
    from rich.console import Console
    from rich.table import Table

    from litepose.datasets.verify_layout import verify_layout
    from litepose.errors import SettingError

    if images is not None:
        raise SettingError("--images is for a single file; a download's pictures lie where its layout says.")
    with Console().status("") as status:
        report = verify_layout(name, root, deep=deep, on_split=lambda split: status.update(f"looking at {split}"))
    table = Table(title=f"{name} in {root}", title_justify="left")
    for heading in ("", "file", "pictures", "people", "keypoints", "broken", "notes"):
        table.add_column(heading)
    for split in report.splits:
        if split.report is None:
            table.add_row(
                split.name, split.file, *[""] * 4, "not looked at" if (root / split.file).exists() else "not there"
            )
            continue
        counts, broken = split.report.counts, sum(one.broken for one in split.report.findings)
        numbers = [f"{counts.get(key, 0):,}" for key in ("pictures", "people", "keypoints")]
        table.add_row(split.name, split.file, *numbers, str(broken), str(len(split.report.findings) - broken))
    Console().print(table)
    for one in report.findings:
        print(f"{'broken' if one.broken else 'note'}: {one.kind}: {one.where}")
    found = [one for split in report.splits if split.report is not None for one in split.report.findings]
    print_findings("in the files", {}, found)
    return report


def print_findings(title: str, counts: dict[str, int], findings: Sequence[Finding]) -> None:
    """Print a table of counts and of what was found, the broken first, a row for each kind."""
    from rich.console import Console
    from rich.table import Table

    from litepose.datasets.verify_layout import REMARKS

    table = Table(title=title, title_justify="left")
    for heading in ("", "how many", "what", "the first"):
        table.add_column(heading)
    for name, count in counts.items():
        table.add_row("", str(count), name, "")
    kinds: dict[str, list[Finding]] = {}
    for one in sorted(findings, key=lambda one: not one.broken):
        kinds.setdefault(one.kind, []).append(one)
    for kind, found in kinds.items():
        remark = f" ({REMARKS[kind]})" if kind in REMARKS else ""
        table.add_row("broken" if found[0].broken else "note", str(len(found)), kind + remark, found[0].where)
    Console().print(table if table.rows else "nothing wrong was found")


@app.command()
def check(
    annotations: Annotated[Path, typer.Argument(help="A COCO or CrowdPose keypoint file, or an MPII list.")],
    images: ImagesOption = None,
    skeleton: SkeletonOption = None,
    json: JsonOption = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder for index.html, a page of the suspicious people.")
    ] = None,
) -> None:
    """Look for labels that are probably wrong: boxes, limbs, left and right, people annotated twice."""
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from litepose.datasets.check import check as look
    from litepose.datasets.check_page import shown, write_check_page
    from litepose.files import check_writable, write_report
    from litepose.page import check_page_packages
    from litepose.skeleton import load_skeleton

    page = output / "index.html" if output is not None else None
    for path in filter(None, (page, json)):
        check_writable(path)
    if page is not None:
        check_page_packages(charts=False)
    report = look(annotations, images=images, skeleton=load_skeleton(skeleton) if skeleton is not None else None)
    table = Table(title=str(annotations), title_justify="left")
    for heading in ("how many", "share", "what", "the worst"):
        table.add_column(heading)
    for name, count in report.counts.items():
        table.add_row(str(count), "", name, "")
    for kind in report.kinds:
        number = "" if kind.worst.annotation is None else f", annotation {kind.worst.annotation}"
        worst = f"picture {kind.worst.picture}{number}: {kind.worst.text}"
        table.add_row(str(kind.count), f"{100 * kind.share:.2f} %", kind.kind, worst)
    Console().print(table)
    for line in report.left_out:
        print(f"not looked at: {line}")
    if json is not None:
        write_report(json, report.to_json())
    if page is not None:
        with Progress(transient=True) as progress:
            task = progress.add_task("drawing", total=sum(len(shown(report, kind)) for kind in report.kinds))
            write_check_page(report, page, images=images, on_card=lambda: progress.advance(task))
        print(f"page: {page}")


@app.command()
def split(
    annotations: Annotated[Path, typer.Argument(help="A COCO or CrowdPose keypoint file.")],
    val: Annotated[float, typer.Option(help="Share of the pictures for validation.", min=0, max=1)] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed, another choice.")] = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Folder. Default: beside the file.")] = None,
) -> None:
    """Split a file by pictures into NAME_train.json and NAME_val.json."""
    from litepose.datasets.split import split as divide

    for path, pictures in divide(annotations, share=val, seed=seed, folder=output):
        print(f"{counted(pictures, 'picture')}: {path}")
