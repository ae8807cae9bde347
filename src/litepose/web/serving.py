"""A server that runs until it is told to end."""

from __future__ import annotations

import math
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litepose.errors import MissingPackageError, SettingError
from litepose.web.settings import LOOPBACK, ServeSettings

if TYPE_CHECKING:
    from litepose.predictor import Predictor
    from litepose.web.site import Offered


def serve(
    models: Sequence[str],
    settings: ServeSettings | None = None,
    *,
    host: str = LOOPBACK,
    port: int = 8000,
    threads: int | None = None,
    decode: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Serve the page and the API until SIGINT or SIGTERM; requests that began are answered first.

    models: shipped names or files; the first is the API's default. port: 0 = a free one. threads: of an engine, in each
    of the settings' workers; None = the physical cores, shared out. say: told the address, and what is missing.
    Raises MissingPackageError, ModelError, SettingError.
    """
    import cv2

    from litepose.web.app import check_packages, create_app
    from litepose.web.site import write_site

    uvicorn = _uvicorn()
    check_packages()
    settings = settings or ServeSettings()
    predictors = open_models(models, threads=threads or _share(settings.workers), decode=decode)
    cv2.setNumThreads(1)  # each worker is one
    with tempfile.TemporaryDirectory(prefix="litepose-page-") as folder:
        site: Path | None = Path(folder)
        try:
            shown = write_site(folder, offered(models, predictors))
            say(f"page: {', '.join(shown)}")
        except (MissingPackageError, SettingError) as error:
            say(f"no page: {error}")
            site = None
        app = create_app(predictors, settings, site=site)
        with listen(host, port) as listening:
            address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
            say(f"{', '.join(predictors)} on {address}, API described at {address}/openapi.json; Ctrl-C ends it")
            config = uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False,
                timeout_graceful_shutdown=math.ceil(settings.timeout_s) + 1,
            )  # fmt: skip
            uvicorn.Server(config).run(sockets=[listening])


def shipped() -> list[str]:
    """Return the names of all shipped models, the default one first. Raises ModelError where none ships."""
    from litepose.weights import DEFAULT, names, path_of

    path_of(DEFAULT)
    return sorted(names(), key=lambda name: name != DEFAULT)


def open_models(models: Sequence[str], *, threads: int, decode: str | None) -> dict[str, Predictor]:
    """Return predictors by name, a file's being its stem. Raises SettingError where two have one."""
    from litepose.predictor import load

    predictors: dict[str, Predictor] = {}
    for model in models:
        name = Path(model).stem if Path(model).suffix else Path(model).name
        if name in predictors:
            raise SettingError(f"Two models to serve are called {name!r}. Rename a file: requests ask by name.")
        predictors[name] = load(model, threads=threads, decode=decode)
    return predictors


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. Raises SettingError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        raise SettingError(f"Cannot listen on {host}, port {port}: {error}. Give another --host or --port.") from error


def _share(workers: int) -> int:
    from litepose.runtimes.base import physical_cores

    return max(1, physical_cores() // workers)


def _uvicorn() -> Any:
    try:
        import uvicorn
    except ImportError as error:
        raise MissingPackageError(
            "litepose serve needs the package uvicorn, which is not installed. Install it: pip install 'litepose[web]'."
        ) from error
    return uvicorn


def offered(models: Sequence[str], predictors: Mapping[str, Predictor]) -> dict[str, Offered]:
    """Return the models that `open_models` opened as `write_site` wants them."""
    from litepose.web.site import Offered
    from litepose.weights import path_of

    pairs = zip(models, predictors.items(), strict=True)
    return {name: Offered(path_of(model), one.spec, one.runtime.size) for model, (name, one) in pairs}
