"""Picture files as the frames of a video: a folder of numbered stills."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from litepose import images
from litepose.errors import PictureError, SettingError, VideoError
from litepose.video.base import Clip, VideoFrame, no_frames


class PictureSequence:
    """Pictures in order as a Source, `rate` a second. One that cannot be read is left out, and said at the end."""

    live = False

    def __init__(
        self,
        files: Sequence[Path],
        *,
        rate: float,
        clip: Clip = Clip(),  # noqa: B008 - frozen
        max_megapixels: float | None = images.MAX_MEGAPIXELS,
    ) -> None:
        if not 0 < rate <= 1000:
            raise SettingError(f"A sequence has from 0 to 1000 pictures a second; found {rate:g}. Use for instance 25.")
        self.files = list(files)
        self.name = files[0].absolute().parent.name or "sequence"
        self.rate: float | None = rate
        self.clip = clip
        self.max_megapixels = max_megapixels
        end = len(self.files) / rate if clip.stop_s is None else min(clip.stop_s, len(self.files) / rate)
        self.duration_s: float | None = max(end - clip.start_s, 0.0)
        self._broken: list[str] = []

    def frames(self) -> Iterator[VideoFrame]:
        """Yield the pictures of the clip. Raises VideoError at the end where some could not be read."""
        self._broken = []
        given = 0
        for frame in self.clip.apply(self._read()):
            given += 1
            yield frame
        if self._broken:
            count = f"{len(self._broken)} of {given + len(self._broken)} pictures of the sequence could not be read:"
            raise VideoError("\n  ".join([count, *self._broken]))
        if not given:
            raise no_frames(self.name, self.clip)

    def _read(self) -> Iterator[VideoFrame]:
        assert self.rate is not None
        first = int(-(-self.clip.start_s * self.rate // 1))  # rounded up
        for at, file in enumerate(self.files[first:]):
            if at % self.clip.stride:
                continue
            try:
                image = images.read(file, max_megapixels=self.max_megapixels)
            except PictureError as error:
                self._broken.append(str(error))
                continue
            yield VideoFrame(at, (first + at) / self.rate, image)
