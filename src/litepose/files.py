"""Writing files so that nothing half-written is ever seen: a temporary name in the same folder, then a rename.

And what files are called where others read it: `short_name`, `picture_ids`, `without_folders`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
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


@contextlib.contextmanager
def replacing_together(path: str | Path) -> Iterator[Path]:
    """Yield a stand-in for `path` in a temporary folder; at the end all files there move beside `path`, itself last.

    After an error none does. Missing folders are made. Raises SettingError where nothing can be written.
    """
    path = Path(path)
    check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        yield Path(folder) / path.name
        for one in sorted(Path(folder).iterdir(), key=lambda one: one.name == path.name):
            one.replace(path.parent / one.name)


def remove_leftovers(folder: str | Path) -> None:
    """Remove the temporary files that a killed process left in `folder`; nobody else may be writing there."""
    for path in Path(folder).glob(".*-*"):
        if re.fullmatch(r"\..+-[0-9a-f]{8}(\.\w+)?", path.name) and path.is_file():
            path.unlink(missing_ok=True)


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


def write_report(path: str | Path, content: Any, *, long: Collection[str] = ()) -> None:
    """Write what a command reports under --json: JSON that people read too.

    long: keys of the top level with thousands of numbers, which take one line each.
    """
    if not isinstance(content, Mapping):
        write_json(path, content, indent=2)
        return
    parts = []
    for key, value in content.items():
        text = json.dumps(value) if key in long else json.dumps(value, indent=2).replace("\n", "\n  ")
        parts.append(f"  {json.dumps(key)}: {text}")
    write_text(path, "{\n" + ",\n".join(parts) + "\n}\n")


def cache_folder() -> Path:
    """Return the folder for what may be lost: litepose's own in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(base) / "litepose"


def short_name(path: str | Path) -> str:
    """Return a file's or folder's name with that of the folder it is in, as far as the path says: "val/people.json".

    What model files and reports call data: nothing of the machine's other folders is in it.
    """
    parts = [part for part in re.split(r"[/\\]", str(path)) if part not in ("", ".", "..") and not part.endswith(":")]
    return "/".join(parts[-2:])


def picture_ids(names: Sequence[str]) -> list[int]:
    """Return numbers for picture files: those at the end of their names where all have one, as in COCO, else 1, 2..."""
    endings = [re.search(r"(\d{1,12})$", Path(name).stem) for name in names]
    ids = [int(ending[1]) for ending in endings if ending]
    return ids if len(set(ids)) == len(names) else list(range(1, len(names) + 1))


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
