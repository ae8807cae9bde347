"""Test this installation: packages, engines, a forward pass, a prediction, a training step, an export."""

from __future__ import annotations

import typer

from litepose.commands.options import JsonOption, counted


def run(json: JsonOption = None) -> None:
    import os

    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    from rich.console import Console

    from litepose.doctor import FAILED, MISSING, checkup
    from litepose.files import check_writable, write_report

    if json is not None:
        check_writable(json)
    console, done = Console(highlight=False, soft_wrap=True), []
    for check in checkup():
        done.append(check)
        console.print(f"{check.state:8}{check.name:15}{check.seconds:6.1f} s  {check.note}", markup=False)
    failed, missing = (sum(check.state == state for check in done) for state in (FAILED, MISSING))
    if json is not None:
        write_report(json, {"checks": [check.to_json() for check in done]})
    optional = f"; {missing} optional parts are not installed" if missing else ""
    print(f"{counted(failed, 'check')} failed{optional}." if failed else f"All is well{optional}.")
    raise typer.Exit(2 if failed else 0)
