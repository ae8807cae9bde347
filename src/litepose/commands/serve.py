"""Serve a page that finds people in the browser, and an HTTP API that finds them here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from litepose.commands.options import DecodeOption, ThreadsOption


def run(
    model: Annotated[
        list[str] | None,
        typer.Option(
            "-m",
            "--model",
            help="A shipped model's name, an exported file or a checkpoint; may be given several times. The first is "
            "the API's default. Default: all that ship, litepose_xs first.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", envvar="LITEPOSE_TOKEN", help="What API requests must bear (better in the environment)."
        ),
    ] = None,
    max_upload_mb: Annotated[float, typer.Option("--max-upload-mb", help="Of a request.")] = 20,
    max_megapixels: Annotated[float, typer.Option("--max-megapixels", help="Of a picture.")] = 25,
    max_pictures: Annotated[int, typer.Option("--max-pictures", min=1, help="Of a request.")] = 16,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Requests that compute at once.")] = 1,
    queue: Annotated[int, typer.Option("--queue", min=0, help="Requests that wait; beyond, the answer is 429.")] = 16,
    timeout: Annotated[float, typer.Option("--timeout", help="Seconds from a request's start to its answer.")] = 30,
    threads: ThreadsOption = None,
    decode: DecodeOption = None,
    write: Annotated[
        Path | None,
        typer.Option("--write", help="Write the page into this folder, for any static host, and stop."),
    ] = None,
) -> None:
    import os
    import sys

    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # broken pictures are reported by us
    from litepose.web.serving import offered, open_models, serve, shipped
    from litepose.web.settings import ServeSettings
    from litepose.web.site import write_site

    models = model or shipped()
    if write is not None:
        names = write_site(write, offered(models, open_models(models, threads=1, decode=decode)))
        print(f"{', '.join(names)} -> {write}/index.html")
        return
    settings = ServeSettings(
        max_upload_mb=max_upload_mb, max_megapixels=max_megapixels, max_pictures=max_pictures,
        workers=workers, queue=queue, timeout_s=timeout, token=token or None,
    )  # fmt: skip
    serve(
        models, settings, host=host, port=port, threads=threads, decode=decode,
        say=lambda text: print(f"litepose serve: {text}", file=sys.stderr, flush=True),
    )  # fmt: skip
