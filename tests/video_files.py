"""Tiny videos, good and broken, made by PyAV where they are needed; tests that need it are skipped without it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av", reason="PyAV is not installed: pip install 'litepose[video]'")

SIZE = (64, 48)


def grey(level: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture whose top left quarter is red and whose rest tells its number."""
    image = np.full((size[1], size[0], 3), level, dtype=np.uint8)
    image[: size[1] // 2, : size[0] // 2] = (0, 0, 255)
    return image


def level_of(image: np.ndarray) -> float:
    return float(image[-8:, -8:].mean())


def write_video(
    path: Path,
    images: Sequence[np.ndarray] | int = 20,
    *,
    times: Sequence[float] | None = None,
    codec: str = "libvpx-vp9",
    rate: int = 25,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames (a number of them, each 5 grey levels brighter) at times in seconds."""
    frames = [grey(10 + 5 * i) for i in range(images)] if isinstance(images, int) else images
    times = [i / rate for i in range(len(frames))] if times is None else times
    with av.open(str(path), "w", options=options or {}) as container:
        quick = {"deadline": "realtime", "cpu-used": "8"} if "vpx" in codec else {}
        stream = container.add_stream(codec, rate=rate, options=quick)
        height, width = frames[0].shape[:2] if len(frames) else SIZE[::-1]
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if codec != "mpeg4":
            stream.codec_context.time_base = Fraction(1, 90_000)
        for image, time_s in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            base = Fraction(1, rate) if codec == "mpeg4" else Fraction(1, 90_000)
            frame.pts, frame.time_base = round(time_s / base), base
            container.mux(stream.encode(frame))
        if not len(frames):
            container.start_encoding()
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Write a file with sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        for i in range(5):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44_100, i * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def turn_clockwise(path: Path, height: int = SIZE[1]) -> Path:
    """Make an MP4 ask its player to turn it by 90 degrees clockwise, as phones do (tkhd's matrix)."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, height << 16, 0, 1 << 30)
    path.write_bytes(data)
    return path


def cut(path: Path, share: float = 0.6) -> Path:
    """Cut a file off."""
    data = path.read_bytes()
    path.write_bytes(data[: round(share * len(data))])
    return path


def noise(count: int, size: tuple[int, int] = (160, 120)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8) for _ in range(count)]
