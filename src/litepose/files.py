"""Writing files so that nothing half-written is ever seen: a temporary name in the same folder, then a rename."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from litepose.errors import SettingError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s place at the end, or vanishes after an error.

    Missing folders are made. Raises SettingError where nothing can be written.
    """
    path = Path(path)
    if path.is_dir():
        raise SettingError(f"Cannot write {path}: it is a folder. Name a file in it.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays, because encoders choose the format by it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise SettingError(f"Cannot write {path}: {error.strerror}. Choose another place.") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` in one step."""
    write_bytes(path, text.encode())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
