"""What a source's name stands for: a camera's number, an address, a video file."""

from __future__ import annotations

import functools
import glob
import re
from pathlib import Path

from litepose.errors import VideoError
from litepose.video.base import Clip, Source
from litepose.video.files import SUFFIXES, VideoFile
from litepose.video.streams import (
    connected,
    is_rtsp,
    lasts,
    name_of,
    open_camera,
    open_stream,
    without_password,
)

ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def is_video(source: str) -> bool:
    """Return whether a name stands for moving pictures: a camera's number, an address or a file of SUFFIXES."""
    if Path(source).is_dir():
        return False
    is_camera = source.isdecimal() and not Path(source).exists()
    return is_camera or bool(ADDRESS.match(source)) or Path(source).suffix.lower() in SUFFIXES


def find_videos(sources: list[str]) -> list[str]:
    """Return sources with globs replaced by the video files that they stand for. Raises VideoError for none."""
    found: dict[str, None] = {}
    for source in sources:
        if not ADDRESS.match(source) and re.search(r"[*?\[]", source) and not Path(source).exists():
            matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute patterns
            if not matches:
                raise VideoError(f"Nothing matches {source!r} (videos end in {', '.join(SUFFIXES)}).")
            found.update(dict.fromkeys(matches))
        else:
            found[source] = None
    return list(found)


def open_video(source: str | int | Path, clip: Clip = Clip()) -> Source:  # noqa: B008 - frozen
    """Return a source of frames: a camera by number, an address (rtsp, http, ...), a file.

    An address that says how long it lasts is a file, of which every frame counts; others are live, and so is RTSP.
    Raises VideoError, MissingPackageError.
    """
    name = str(source)
    if name.isdecimal() and not Path(name).exists():
        return open_camera(int(name), clip)
    if ADDRESS.match(name) and not name.lower().startswith("file:"):
        return _open_address(name, clip)
    return VideoFile(name, clip)


def _open_address(address: str, clip: Clip) -> Source:
    if is_rtsp(address):
        return open_stream(address, clip)
    with connected(address) as container:
        lasting = lasts(container)
    if not lasting:
        return open_stream(address, clip)
    connect = functools.partial(connected, address)
    return VideoFile(without_password(address), clip, name=name_of(address), connect=connect)
