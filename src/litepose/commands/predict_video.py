"""The part of `litepose predict` for moving pictures: where outputs go, a bar, what is said at the end."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from litepose.commands.options import counted
from litepose.errors import SettingError, VideoError

if TYPE_CHECKING:
    from litepose.poses import Poses
    from litepose.predictor import Predictor
    from litepose.video import Clip, FrameResult, Source
    from litepose.video.run import Drawing

KEPT_TIMES = 2000  # frames that the printed medians are of, at most
WARM_UP = 3  # first frames, which they leave out


@dataclass(frozen=True)
class VideoOptions:
    """What the command was asked for, besides the model.

    rate: of a sequence of pictures, None = no sequence. offline: smooth all frames together, in a second pass.
    """

    clip: Clip
    drawing: Drawing
    output: Path | None
    json: Path | None
    format: str
    min_score: float
    show: bool
    track: bool
    smooth: bool
    rate: float | None
    recursive: bool
    max_megapixels: float | None
    offline: bool = False


@dataclass
class _Tally:
    """What is said of one video at the end."""

    frames: int = 0
    people: int = 0
    dropped: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    ids: set[int] = field(default_factory=set)
    seconds: dict[str, deque[float]] = field(default_factory=dict)

    def add(self, result: FrameResult) -> None:
        self.first_s = result.frame.time_s if not self.frames else self.first_s
        self.frames += 1
        self.people += len(result.poses)
        self.dropped = result.dropped
        self.last_s = result.frame.time_s
        if result.poses.track_ids is not None:
            self.ids |= {one for one in result.poses.track_ids.tolist() if one >= 0}
        if self.frames > WARM_UP:
            for step, value in result.seconds.items():
                self.seconds.setdefault(step, deque(maxlen=KEPT_TIMES)).append(value)


def predict_videos(sources: list[str], options: VideoOptions, load: Callable[[], Predictor]) -> None:
    """Find the people of each video in turn. Raises LiteposeError, after the others are done where one is broken."""
    from litepose.video.window import Window

    names = _named(sources, options)
    places = [_places(name, source, options, alone=len(names) == 1) for name, source in names.items()]
    window = Window() if options.show else None
    errors = []
    try:
        predictor: Predictor | None = None
        for source, (drawn, json) in zip(names.values(), places, strict=True):
            try:
                opened = _open(source, options)
                predictor = load() if predictor is None else predictor
                if _one(opened, source, predictor, options, drawn, json, window):
                    break
            except VideoError as error:
                errors.append(error)
    finally:
        if window is not None:
            with contextlib.suppress(Exception):  # closed by its user
                window.close()
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise VideoError("\n  ".join([f"{len(errors)} of {len(names)} videos:", *map(str, errors)]))


def _named(sources: list[str], options: VideoOptions) -> dict[str, Any]:
    """Return name of outputs -> source (a string, or the files of a sequence)."""
    from litepose import images
    from litepose.video.sources import find_videos, is_video

    if options.rate is not None:
        files = images.find(sources, recursive=options.recursive)
        return {files[0].absolute().parent.name or "sequence": files}
    videos = find_videos(sources)
    still = next((one for one in videos if not is_video(one)), None)
    if still is not None:
        raise SettingError(
            f"Pictures and videos were given together: {still} is no video. Call predict for each kind, or add "
            "--sequence to see pictures as the frames of a video."
        )
    named: dict[str, Any] = {}
    for video in videos:
        stem = _stem(video)
        free = stem if stem not in named else next(f"{stem}-{n}" for n in range(2, 10**6) if f"{stem}-{n}" not in named)
        named[free] = video
    return named


def _stem(source: str) -> str:
    from litepose.video.streams import name_of

    if source.isdecimal() and not Path(source).exists():
        return f"camera{source}"
    if "://" in source:
        return name_of(source)
    return Path(source).stem


def _places(name: str, source: Any, options: VideoOptions, *, alone: bool) -> tuple[Path | None, Path | None]:
    """Return where the drawn video and the people of one source go. Raises SettingError."""
    from litepose.files import check_writable
    from litepose.video.writing import SUFFIXES
    from litepose.writers import check_target, suffix_of

    drawn, json = options.output, options.json
    if drawn is None and json is None and not options.show:
        drawn = Path("litepose-out")
    if drawn is not None and drawn.suffix.lower() not in SUFFIXES:
        drawn = drawn / f"{name}.webm"
    elif drawn is not None and not alone:
        raise SettingError(f"-o {drawn} is one file for several videos. Name a folder.")
    if json is not None and not alone:
        json = json / f"{name}{suffix_of(options.format, video=True)}"
    check_target(json, options.format, video=True)
    for place, option in ((drawn, "-o"), (json, "--json")):
        if place is None:
            continue
        if isinstance(source, str) and place.resolve() == Path(source).resolve():
            raise SettingError(f"{option} would overwrite the input {source}. Name another place.")
    if drawn is not None:
        check_writable(drawn)
    return drawn, json


def _open(source: Any, options: VideoOptions) -> Source:
    from litepose.video import PictureSequence, open_video

    if options.rate is None:
        return open_video(source, options.clip)
    return PictureSequence(source, rate=options.rate, clip=options.clip, max_megapixels=options.max_megapixels)


def _one(
    source: Source,
    reopened: Any,
    predictor: Predictor,
    options: VideoOptions,
    drawn: Path | None,
    json: Path | None,
    window: Callable[[Any], bool] | None,
) -> bool:
    """Find the people of one video and say what became of it; return whether its user stopped it, live.

    reopened: what `_open` opens again for a second pass.
    """
    from litepose.smoothing import PoseSmoother
    from litepose.tracking import Tracker
    from litepose.training.stop import StopOnSignal
    from litepose.video import VideoWriter, draw_video, predict_video
    from litepose.writers import ResultFiles

    known = _smoothed(source, predictor, options) if options.offline else None
    if known is not None:
        source = _open(reopened, options)
    writer = None if drawn is None else VideoWriter(drawn, rate=source.rate)
    results = None
    if json is not None:
        results = ResultFiles(
            json, format=options.format, model=predictor.spec.model or "", skeleton=predictor.skeleton,
            video=source.name,
        )  # fmt: skip
    outputs: dict[str, Any] = {"writer": writer, "results": results, "show": window, "drawing": options.drawing}
    if known is not None:
        loop = draw_video(source, known, **outputs)
    else:
        loop = predict_video(
            predictor, source, min_score=options.min_score, tracker=Tracker() if options.track else None,
            smoother=PoseSmoother() if options.smooth else None, **outputs,
        )  # fmt: skip
    tally = _Tally()
    try:
        with StopOnSignal() as stop, contextlib.closing(loop), _progress(source) as advance:
            for result in loop:
                tally.add(result)
                advance(result)
                if stop.asked:
                    break
    finally:
        if tally.frames:
            _say(source, tally, [drawn, json])
    if stop.asked and not source.live:
        print("litepose: interrupted; what was done until then is there", file=sys.stderr)
        raise SystemExit(130)
    return stop.asked


def _smoothed(source: Source, predictor: Predictor, options: VideoOptions) -> list[Poses]:
    """Return the people of all frames, tracked and smoothed together; of those until a signal, where one comes."""
    from litepose.smoothing_offline import smooth_offline
    from litepose.tracking import Tracker
    from litepose.training.stop import StopOnSignal
    from litepose.video import predict_video

    if source.live:
        raise SettingError(
            f"--smooth-offline looks at all frames of a video before it draws the first; {source.name} is live and has "
            "no last one. Take --smooth."
        )
    found, times_s = [], []
    loop = predict_video(predictor, source, min_score=options.min_score, tracker=Tracker())
    with StopOnSignal() as stop, contextlib.closing(loop), _progress(source) as advance:
        for result in loop:
            found.append(result.poses)
            times_s.append(result.frame.time_s)
            advance(result)
            if stop.asked:
                break
    if stop.asked:
        print(f"litepose: stopped; drawing {counted(len(found), 'frame')}", file=sys.stderr)
    return smooth_offline(found, times_s)


@contextlib.contextmanager
def _progress(source: Source) -> Iterator[Callable[[FrameResult], None]]:
    """Yield what is to be called with each result: a bar with rate and time left, on a terminal."""
    import time

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    known = source.duration_s is not None
    columns = [
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[frames]} frames"),
        TextColumn("{task.fields[rate]:.1f}/s"), TimeRemainingColumn() if known else TimeElapsedColumn(),
    ]  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(source.name, total=source.duration_s, frames=0, rate=0.0)
        start, first_s = time.perf_counter(), None

        def advance(result: FrameResult) -> None:
            nonlocal first_s
            first_s = result.frame.time_s if first_s is None else first_s
            frames = progress.tasks[0].fields["frames"] + 1
            rate = frames / max(time.perf_counter() - start, 1e-9)
            progress.update(task, completed=result.frame.time_s - first_s, frames=frames, rate=rate)

        yield advance


def _say(source: Source, tally: _Tally, places: list[Path | None]) -> None:
    """Print a line about the video, and one about its steps."""
    import numpy as np

    there = [str(place) for place in places if place is not None and place.exists()]
    total = {step: float(np.median(values)) for step, values in tally.seconds.items()}
    parts = [
        counted(tally.frames, "frame"),
        f"{tally.last_s - tally.first_s:.2f} s",
        f"{tally.people / tally.frames:.1f} people a frame",
    ]
    if tally.ids:
        parts.append(counted(len(tally.ids), "track"))
    if tally.dropped:
        parts.append(f"{tally.dropped} left out to stay live")
    where = f" -> {', '.join(there)}" if there else ""
    print(f"{source.name}: {', '.join(parts)}{where}")
    if total:
        worst = {step: float(np.percentile(values, 90)) for step, values in tally.seconds.items()}
        steps = ", ".join(f"{step} {1000 * ms:.1f} ({1000 * worst[step]:.1f})" for step, ms in total.items())
        print(f"  ms a frame, median (90 %): {steps}")


def check_pictures_options(given: dict[str, bool]) -> None:
    """Raise SettingError where options of moving pictures were given with pictures. given: option -> whether."""
    wrong = [option for option, is_given in given.items() if is_given]
    if wrong:
        raise SettingError(
            f"{', '.join(wrong)}: of videos, cameras and streams; the sources are pictures. Leave it out, or add "
            "--sequence to see them as the frames of a video."
        )


def check_video_options(given: dict[str, bool]) -> None:
    """Raise SettingError where options of pictures were given with moving ones."""
    wrong = [option for option, is_given in given.items() if is_given]
    if wrong:
        raise SettingError(f"{', '.join(wrong)}: of pictures, not of videos. Leave it out.")
