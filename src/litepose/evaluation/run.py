"""An evaluation from opened data to a report: of a model, resumable and shared over processes, or of a results file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litepose.datasets.pictures import Pictures, write_picture_list
from litepose.distributed import Share
from litepose.errors import AnnotationError, SettingError
from litepose.evaluation.data import Data
from litepose.evaluation.protocol import Unscored, choose_protocol, open_boxes
from litepose.evaluation.settings import settings_of, settings_of_results
from litepose.files import cache_folder
from litepose.metrics.found_file import FoundFile, Looked
from litepose.metrics.protocols import EvaluationProtocol, MpiiProtocol
from litepose.metrics.report import Report, find_people, limited, scored
from litepose.metrics.results import ResultPoses, read_mpii_results, read_results, write_mpii_results, write_results
from litepose.metrics.truth import Truth
from litepose.poses import Poses
from litepose.predictor import Predictor
from litepose.skeleton import MPII16


@dataclass(frozen=True)
class Evaluation:
    """What came of it.

    report: None where the pictures have no truth. found: the people by id of the picture. unreadable: (id, message).
    seen: the samples' own truth, of the same pictures, where the protocol needs it.
    """

    data: Data
    protocol: EvaluationProtocol
    report: Report | None
    found: Mapping[Any, Poses]
    seen: Truth
    unreadable: tuple[tuple[int | str, str], ...] = ()
    progress_file: FoundFile | None = None

    def save_results(self, path: str | Path) -> None:
        """Write the people found as COCO's evaluation takes them; of an MPII list as HRNet's tools do, a .mat file.

        Of a folder of pictures, NAME.images.json beside it says which picture has which id.
        """
        if isinstance(self.protocol, MpiiProtocol):
            write_mpii_results(path, self.found, self.protocol.records)
        else:
            write_results(path, self.found, category=min(self.data.categories))
        if isinstance(self.data.dataset, Pictures) and self.data.content is None:
            write_picture_list(Path(path).with_suffix(".images.json"), self.data.dataset)

    def finish(self) -> None:
        """Remove what was kept for going on; call it when all outputs are written."""
        if self.progress_file is not None:
            self.progress_file.remove()


def evaluate_model(
    finder: Predictor,
    data: Data,
    *,
    model: str = "",
    protocol: str | None = None,
    boxes: str | None = None,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    beside: Path | None = None,
    share: Share | None = None,
    device: str = "cpu",
    threads: int | None = None,
) -> Evaluation | None:
    """Find the people of all pictures and score them; None for a process that is not the first of several.

    finder: on the skeleton of `data`. model: its name in the report. protocol: see `choose_protocol`.
    boxes, device, threads: of top-down models, see `open_boxes`. limit: look at the first pictures only.
    progress: called with (pictures done, pictures in all) of this process.
    beside: the output for which this is done; what is found lies beside it until `Evaluation.finish`, so that a killed
        run goes on. None = in the user's cache. share: the part of this process; None = all.
    Raises AnnotationError, SettingError, SkeletonError, ModelError, MissingPackageError.
    """
    assert data.dataset is not None, "only annotations were read"
    share = Share() if share is None else share
    source = open_boxes(boxes, finder, data, device=device, threads=threads)
    way = choose_protocol(data, protocol, finder=finder, boxes=source)
    settings = settings_of(finder, data, model=model, boxes=boxes, protocol=way.name)
    file = _progress_file(beside, data, settings, way, share, boxes)
    which = share.part(limited(data.dataset, limit))
    parts = share.gathered(find_people(finder, data.dataset, protocol=way, which=which, progress=progress, file=file))
    if not share.is_first:
        return None
    looked = {index: one for part in parts for index, one in part.items()}
    report = None
    if not isinstance(way, Unscored):
        report = scored(looked, data.skeleton, protocol=way, name=data.name, settings=settings)
    return _evaluation(data, way, report, looked, file)


def evaluate_results(results: str | Path, data: Data, *, protocol: str | None = None) -> Evaluation:
    """Score a results file on annotations (`read_data`); a picture without results is one where nobody was found.

    results: COCO's JSON list; on an MPII list a .mat file. protocol: see `choose_protocol`.
    Raises AnnotationError for results that do not belong to the annotations or cannot be ranked, SettingError.
    """
    way = choose_protocol(data, protocol)
    if isinstance(way, MpiiProtocol):
        found: dict[Any, Poses] = read_mpii_results(results, way.records)
    else:
        found = read_results(results, data.skeleton, ids=data.ids, categories=data.categories)
    if not len(data.ids):
        raise AnnotationError(f"{data.source} lists no pictures, so nothing can be scored on it.")
    nobody = ResultPoses.empty(data.skeleton)
    everywhere = {key: found.get(key, nobody) for key in data.ids}
    looked = {index: Looked(key, poses) for index, (key, poses) in enumerate(everywhere.items())}
    settings = settings_of_results(results, data, protocol=way.name)
    report = scored(looked, data.skeleton, protocol=way, name=data.name, settings=settings)
    return _evaluation(data, way, report, looked, None)


def _evaluation(
    data: Data, way: EvaluationProtocol, report: Report | None, looked: Mapping[int, Looked], file: FoundFile | None
) -> Evaluation:
    ordered = [looked[index] for index in sorted(looked)]
    found = {one.id: one.poses for one in ordered if one.poses is not None}
    unreadable = tuple((one.id, one.error) for one in ordered if one.poses is None)
    seen = Truth(data.skeleton, tuple(one.truth for one in ordered if one.truth is not None))
    return Evaluation(data, way, report, found, seen, unreadable, file)


def _progress_file(
    beside: Path | None,
    data: Data,
    settings: Mapping[str, Any],
    way: EvaluationProtocol,
    share: Share,
    boxes: str | None,
) -> FoundFile | None:
    """Return where what is found is kept; None where that would be the cache and nothing can be written there."""
    source = Path(data.source)
    depends = {
        **settings,
        "source": str(source.resolve()),
        "content": _sha256(source) or hashlib.sha256(repr(list(data.ids)).encode()).hexdigest(),
        "boxes_content": None if boxes is None else _sha256(Path(boxes)),
    }
    skeleton = MPII16 if isinstance(way, MpiiProtocol) else data.skeleton
    place = cache_folder() / "evaluation" / "people" if beside is None else beside
    file = FoundFile(place, depends, skeleton, rank=share.rank)
    try:
        file.check()
    except SettingError:
        if beside is not None:
            raise
        return None
    return file


def _sha256(path: Path) -> str | None:
    """Return the hash of a file, None for what is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
