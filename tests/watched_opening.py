"""Open hostile files one by one in this process, with every deed of Python's watched; called by test_hostile_files.py.

Usage: watched_opening.py FOLDER REPORT.json [careless], FOLDER with files.json [[name, fails], ...]. Python's audit
events tell what is opened, imported, compiled, executed and connected to; after the warm-up, reading is all that may be
seen.
"""

from __future__ import annotations

import encodings.cp437  # names in zip files
import encodings.raw_unicode_escape  # noqa: F401 - texts in old pickles
import json
import os
import pickle
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any

SECONDS_FOR_ONE = 10
QUIET = {  # what happens all the time and does nothing
    "object.__getattr__", "object.__setattr__", "object.__delattr__", "sys._getframe", "sys._getframemodulename",
    "sys._current_frames", "cpython._PySys_ClearAuditHooks", "gc.get_objects", "gc.get_referrers", "id",
    "builtins.id", "sys.unraisablehook", "os.listdir", "os.scandir", "signal.alarm", "ctypes.addressof", "mmap.__new__",
}  # fmt: skip


def main(folder: Path, report: Path, *, careless: bool = False) -> None:
    """Open every file. careless: as one must not, to see that it would be seen."""
    from litepose import checkpoints, inspection
    from litepose.errors import LiteposeError
    from litepose.models.litepose import uniform_arch
    from litepose.skeleton import CROWDPOSE14

    tiny = uniform_arch(64, 8, (8, 8, 8, 8), (8, 8, 8))
    asks = {
        "convert": lambda path: checkpoints.import_official(path, "litepose_xs", CROWDPOSE14, arch=tiny),
        "inspect": inspection.inspect,
    }
    if careless:
        asks = {"convert": lambda path: pickle.loads(path.read_bytes())}

    def ask(what: str, path: Path) -> str | None:
        """Return the error's message, None where there was none; what is no LiteposeError flies on."""
        signal.alarm(SECONDS_FOR_ONE)
        try:
            asks[what](path)
        except LiteposeError as error:
            return str(error)
        finally:
            signal.alarm(0)
        return None

    for path in (
        () if careless else (*sorted(folder.glob("good.*")), folder / "warm.pth")
    ):  # whatever is loaded late is loaded now
        for what in asks:
            ask(what, path)
    seen: list[tuple[str, str, str]] = []
    current = ["", False]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not current[1] or event in QUIET:
            return
        if event == "open":
            _, mode, flags = arguments
            writing = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            if not writing and not (isinstance(mode, str) and set(mode) & set("wax+")):
                return
        seen.append((str(current[0]), event, repr(arguments)[:200]))

    sys.addaudithook(watch)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    results = []
    for name, _ in json.loads((folder / "files.json").read_text()):
        answer: dict[str, Any] = {"name": name}
        for what in asks:
            current[:] = [f"{what} {name}", True]
            start = time.process_time()
            try:
                answer[what] = ask(what, folder / name)
            except BaseException as error:
                answer[f"{what} broke"] = repr(error)[:300]
            current[1] = False
            answer[f"{what} seconds"] = time.process_time() - start
        answer["peak_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        results.append(answer)
    report.write_text(json.dumps({"results": results, "seen": seen}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), careless="careless" in sys.argv[3:])
