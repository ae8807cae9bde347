"""Writing files so that nothing half-written is ever seen: a temporary name in the same folder, then a rename.

And what files are called where others read it: `short_name`, `without_folders`.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from litepose.errors import SettingError


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes `path`'s place at the end, or vanishes after an error.

    Missing folders are made. Raises SettingError where nothing can be written.
    """
    path = Path(path)
    if path.is_dir():
        raise SettingError(f"Cannot write {path}: it is a folder. Name a file in it.")
    # The suffix stays, because encoders choose the format by it.
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise SettingError(f"Cannot write {path}: {error.strerror}. Choose another place.") from error
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raise SettingError where no file `path` could be written; known before the work that it is for.

    A file is made and removed again in its folder or, where that is still to be made, in the nearest one above.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise SettingError(f"Cannot write {path}: it is a folder. Name a file in it.")
        folder = next(one for one in path.absolute().parents if one.exists())
        probe = folder / f".{path.stem}-{secrets.token_hex(4)}{path.suffix}"
        probe.touch(exist_ok=False)
        probe.unlink()
    except OSError as error:
        raise SettingError(f"Cannot write {path}: {error.strerror}. Choose another place.") from error


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8 to `path` in one step."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, content: Any, *, indent: int | None = None) -> None:
    """Write plain values as JSON to `path` in one step."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def write_report(path: str | Path, content: Any) -> None:
    """Write what a command reports under --json: JSON that people read too, a list of plain values on one line."""
    write_text(path, _readable(content) + "\n")


def _readable(value: Any, margin: str = "") -> str:
    deeper = margin + "  "
    if isinstance(value, Mapping) and value:
        inner = [f"{json.dumps(str(key))}: {_readable(one, deeper)}" for key, one in value.items()]
        first, last = "{}"
    elif isinstance(value, list | tuple) and any(isinstance(one, Mapping | list | tuple) for one in value):
        inner = [_readable(one, deeper) for one in value]
        first, last = "[]"
    else:
        return json.dumps(value)
    return f"{first}\n" + ",\n".join(deeper + line for line in inner) + f"\n{margin}{last}"


def short_name(path: str | Path) -> str:
    """Return a file's or folder's name with that of the folder it is in, as far as the path says: "val/people.json".

    What model files and reports call data: nothing of the machine's other folders is in it.
    """
    parts = [part for part in re.split(r"[/\\]", str(path)) if part not in ("", ".", "..") and not part.endswith(":")]
    return "/".join(parts[-2:])


def without_folders(value: Any) -> Any:
    """Return plain JSON values with every path in their texts cut down to its `short_name`.

    A text may hold options with paths, as "synthetic:seed=3,poses=FILE" does.
    """
    if isinstance(value, Mapping):
        return {key: without_folders(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(one) for one in value]
    if not isinstance(value, str) or not re.search(r"[/\\]", value):
        return value
    return re.sub(r"[^,=]*[/\\][^,=]*", lambda match: short_name(match[0]), value)
