"""The command line: every file in `commands/` is a verb.

A command file has `run`, a typer-annotated function (or `app`, a typer.Typer, for a verb with sub-commands), imports
nothing heavy at its top and calls one public function. Errors of the user come out as one message, exit code 2.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from litepose import __version__, commands
from litepose.errors import LiteposeError, MissingPackageError

# Optional packages -> the extra that brings them.
EXTRAS = {
    "av": "video",
    **dict.fromkeys(("hotcoco", "matplotlib", "jinja2"), "eval"),
    **dict.fromkeys(("torch", "safetensors", "onnx", "onnxscript", "tensorboard"), "train"),
}
HIDDEN = {"options", "predict_video"}  # pieces of commands, no verbs


def build_app() -> typer.Typer:
    """Return the command line with every verb that `commands/` holds."""
    app = typer.Typer(
        name="litepose",
        help="Light 2D human pose estimation: pictures go in, people come out.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_root)
    for verb in verbs():
        module = importlib.import_module(f"litepose.commands.{verb}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=verb, help=module.__doc__, no_args_is_help=True)
        else:
            app.command(name=verb, help=module.__doc__)(module.run)
    return app


def verbs() -> list[str]:
    """Return the names of all commands, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(commands.__path__) if info.name not in HIDDEN)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exit code 2 and one message for a user's mistake, 130 for Ctrl-C."""
    try:
        with _plain_warnings():
            _run(arguments)
    except LiteposeError as error:
        print(f"litepose: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except KeyboardInterrupt as error:
        print("litepose: interrupted", file=sys.stderr)
        raise SystemExit(130) from error


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Print the package's own warnings as a line each, once; those of others come out as Python prints them."""
    before, said = warnings.showwarning, set()

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
        if category is not UserWarning or not Path(filename).is_relative_to(Path(__file__).parent):
            before(message, category, filename, *rest, **more)
        elif str(message) not in said:
            said.add(str(message))
            print(f"litepose: warning: {message}", file=sys.stderr)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


def _run(arguments: list[str] | None) -> None:
    try:
        build_app()(arguments)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRAS:
            raise
        raise MissingPackageError(
            f"This command needs the package {package.replace('_', '-')}, which is not installed. "
            f"Install it: pip install 'litepose[{EXTRAS[package]}]'."
        ) from error


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"litepose {__version__}")
        raise typer.Exit()


def _root(
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Print the version and stop."
    ),
) -> None:
    pass
