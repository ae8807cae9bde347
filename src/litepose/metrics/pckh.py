"""PCKh, MPII's measure: the share of keypoints found within a fraction of the person's head size.

Source: Andriluka et al. 2014, as leoxiaobin/deep-high-resolution-net.pytorch@00d7bf7 computes it (lib/dataset/mpii.py,
and mmpose 0.13 alike): the size is 0.6 times the diagonal of the head box; a person is scored against the annotated
place of the same record, so crops come from annotated boxes and nobody is missed; Mean counts every labelled keypoint
but pelvis and thorax. What papers of that family print as "Mean@0.1" is measured at 0.11, see `PUBLISHED_THRESHOLD`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from litepose.errors import AnnotationError, MissingPackageError
from litepose.metrics.per_picture import Sums
from litepose.poses import Poses
from litepose.skeleton import MPII16

PROTOCOL = "mpii-pckh"
THRESHOLD = 0.5
HEAD_SHARE = 0.6  # of the diagonal of the head box, in the official evaluation
# Row 11 of np.arange(0, 0.51, 0.01) stands in the reference for 0.1: HRNet, SimpleBaseline, LPN, Lite-HRNet and mmpose
# up to 0.13 print it. mmpose takes row 10 since July 2021 (open-mmlab/mmpose#773).
PUBLISHED_THRESHOLD = 0.11
TRUE_THRESHOLD = 0.1
GROUPS: dict[str, tuple[str, ...]] = {
    "Head": ("head_top",),
    **{part.title(): (f"left_{part}", f"right_{part}")
       for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")},
}  # fmt: skip
NOT_IN_MEAN = ("pelvis", "thorax")
MAT_FILES = ("gt_{split}.mat", "mpii_gt_{split}.mat")  # HRNet's name, mmpose's
MAT_FIELDS = {"dataset_joints": "16 names", "jnt_missing": "(16, N)", "pos_gt_src": "(16, 2, N)",
              "headboxes_src": "(2, 2, N)"}  # fmt: skip
# The .mat files' names of the keypoints, in MPII's order.
MAT_NAMES = ("rank", "rkne", "rhip", "lhip", "lkne", "lank", "pelv", "thor", "neck", "head", "rwri", "relb", "rsho",
             "lsho", "lelb", "lwri")  # fmt: skip


@dataclass(frozen=True)
class PckhTruth:
    """Annotated people in the order of the annotation list, on MPII's skeleton.

    keypoints: (N, 16, 2) float64 x, y, picture px (0-based). labelled: (N, 16) bool. head_sizes: (N,) float64 px, as
    `head_sizes` gives them. Raises AnnotationError where the parts do not fit.
    """

    keypoints: np.ndarray
    labelled: np.ndarray
    head_sizes: np.ndarray

    def __post_init__(self) -> None:
        count, num_keypoints = len(self.head_sizes), MPII16.num_keypoints
        for name, shape, dtype in (("keypoints", (count, num_keypoints, 2), np.float64),
                                   ("labelled", (count, num_keypoints), bool),
                                   ("head_sizes", (count,), np.float64)):  # fmt: skip
            array = np.asarray(getattr(self, name), dtype=dtype)
            if array.shape != shape:
                raise AnnotationError(
                    f"The truth of {count} MPII people needs {name} of shape {shape}; found {array.shape}."
                )
            object.__setattr__(self, name, array)
        broken = ~(np.isfinite(self.head_sizes) & (self.head_sizes > 0))
        broken |= (self.labelled & ~np.isfinite(self.keypoints).all(axis=-1)).any(axis=1)
        if broken.any():
            raise AnnotationError(
                f"{int(broken.sum())} of {count} MPII people have a head without size or a labelled keypoint that is "
                f"no number (the first is number {int(np.flatnonzero(broken)[0])}). PCKh cannot be measured on them; "
                "leave them out (`only`)."
            )

    def __len__(self) -> int:
        return len(self.head_sizes)

    def only(self, numbers: Sequence[int] | np.ndarray) -> PckhTruth:
        """Return the truth of some people, by their place in the list."""
        rows = np.asarray(numbers, dtype=np.int64)
        return PckhTruth(self.keypoints[rows], self.labelled[rows], self.head_sizes[rows])


@dataclass(frozen=True)
class PckhStats:
    """Shares in [0, 1]; -1 = no such keypoint in the truth.

    groups: Head, Shoulder, ... Ankle, each the mean of its left and right share. per_keypoint: by name.
    mean: over all labelled keypoints but pelvis and thorax; the same at 0.11 (what papers call "Mean@0.1") and at 0.1.
    per_person: keypoints of the mean found and labelled, of each person in the list's order.
    """

    groups: Mapping[str, float]
    mean: float
    mean_at_0_11: float
    mean_at_0_10: float
    per_keypoint: Mapping[str, float]
    num_people: int
    per_person: Sums = field(compare=False)

    def to_json(self) -> dict[str, Any]:
        """Return {"protocol", "stats": {"Head": ..., "Mean": ..., ...}, "per_keypoint", "settings"} as plain values."""
        return {
            "protocol": PROTOCOL,
            "stats": {
                **self.groups,
                "Mean": self.mean,
                "Mean@0.1 (as published: at 0.11)": self.mean_at_0_11,
                "Mean@0.10": self.mean_at_0_10,
            },
            "per_keypoint": dict(self.per_keypoint),
            "settings": {
                "threshold": THRESHOLD,
                "of": f"{HEAD_SHARE} x diagonal of the annotated head box",
                "prediction": "the person of the same annotated box",
                "mean": f"labelled keypoints but {' and '.join(NOT_IN_MEAN)}",
                "people": self.num_people,
            },
        }


def evaluate_pckh(truth: PckhTruth | str | Path, predictions: np.ndarray) -> PckhStats:
    """Score one found person for each annotated one.

    truth: a PckhTruth, or the evaluator's .mat file (see `read_truth_mat`).
    predictions: (N, 16, 2) x, y in picture px (0-based), MPII's keypoints in the order of the annotation list, as
        `in_record_order` arranges them; NaN = not found, which is wrong.
    Raises AnnotationError, and MissingPackageError without scipy.
    """
    if not isinstance(truth, PckhTruth):
        truth = read_truth_mat(truth)
    predictions = np.asarray(predictions, dtype=np.float64)
    if predictions.shape != truth.keypoints.shape:
        raise AnnotationError(
            f"PCKh was asked for {len(truth)} annotated people, shape {truth.keypoints.shape}; found predictions of "
            f"shape {predictions.shape}. One person for each record of the annotation list is needed, in its order; "
            "gt_valid.mat (mpii_gt_val.mat) belongs to valid.json (mpii_val.json)."
        )
    distances = np.linalg.norm(predictions - truth.keypoints, axis=-1) / truth.head_sizes[:, None]  # (N, 16)
    counts = truth.labelled.sum(axis=0)

    def right_at(threshold: float) -> np.ndarray:
        return (truth.labelled & (distances <= threshold)).sum(axis=0)

    right = right_at(THRESHOLD)
    shares = dict(zip(MPII16.keypoints, map(_share, right, counts), strict=True))
    return PckhStats(
        groups={name: _mean_of([shares[one] for one in group]) for name, group in GROUPS.items()},
        mean=_mean_share(right, counts),
        mean_at_0_11=_mean_share(right_at(PUBLISHED_THRESHOLD), counts),
        mean_at_0_10=_mean_share(right_at(TRUE_THRESHOLD), counts),
        per_keypoint=shares,
        num_people=len(truth),
        per_person=_per_person(distances <= THRESHOLD, truth.labelled),
    )


def in_record_order(
    poses_by_image: Mapping[str, Poses], records_by_image: Mapping[str, np.ndarray], *, num_records: int
) -> np.ndarray:
    """Return found people as `evaluate_pckh` takes them: (num_records, 16, 2) float64, NaN where nothing was found.

    poses_by_image: by picture id, the n-th person found in the n-th annotated box of the picture; mapped to MPII's
        skeleton by name. A picture that is missing here leaves NaN.
    records_by_image: by picture id, the place in the annotation list of each annotated box (`MpiiDataset.records`).
    Raises AnnotationError where a picture has not one person for each box.
    """
    arranged = np.full((num_records, MPII16.num_keypoints, 2), np.nan)
    for image, poses in poses_by_image.items():
        records = records_by_image.get(image)
        if records is None:
            raise AnnotationError(
                f"People were found in {image}, which the annotations do not list. Score against the list of these "
                "pictures."
            )
        if len(poses) != len(records):
            raise AnnotationError(
                f"PCKh needs one person for each annotated box; {image} has {len(records)} boxes and {len(poses)} "
                "people were found. Find people in the annotated boxes, in their order, and keep them all (no "
                "suppression of overlapping ones)."
            )
        mine = poses.mapped_to(MPII16)
        arranged[records] = np.where(mine.found[..., None], mine.keypoints, np.nan)
    return arranged


def read_truth_mat(path: str | Path) -> PckhTruth:
    """Read HRNet's gt_valid.mat (mmpose: mpii_gt_val.mat).

    Its places are 1-based and its people stand in the order of valid.json; keypoints are matched by name.
    Raises AnnotationError, and MissingPackageError without scipy.
    """
    path = Path(path)
    content = load_mat(path)
    missing = [f"{name} {shape}" for name, shape in MAT_FIELDS.items() if name not in content]
    if missing:
        found = ", ".join(sorted(name for name in content if not name.startswith("__"))) or "nothing"
        raise AnnotationError(
            f"{path} lacks {', '.join(missing)}; found {found}. Give the gt_valid.mat that comes with HRNet's MPII "
            "annotations (mmpose: mpii_gt_val.mat)."
        )
    order = _order([_text(one) for one in np.ravel(content["dataset_joints"])], path)
    try:
        places = np.asarray(content["pos_gt_src"], dtype=np.float64)[order].transpose(2, 0, 1) - 1  # (16, 2, N) ->
        labelled = np.asarray(content["jnt_missing"], dtype=np.float64)[order].T == 0  # (16, N) -> (N, 16)
        heads = np.asarray(content["headboxes_src"], dtype=np.float64).transpose(2, 0, 1)  # (2, 2, N) -> (N, 2, 2)
        sizes = head_sizes(heads.reshape(-1, 4))
    except (ValueError, IndexError, TypeError) as error:
        raise AnnotationError(f"{path} does not hold the shapes {MAT_FIELDS}: {error}.") from error
    try:
        return PckhTruth(places, labelled, sizes)
    except AnnotationError as error:
        raise AnnotationError(f"{path}: {error}") from error


def truth_beside(annotations: str | Path) -> Path:
    """Return the .mat file that belongs to an MPII list: annot/valid.json -> annot/gt_valid.mat.

    Raises AnnotationError where it does not lie beside it: the list itself has no head boxes.
    """
    path = Path(annotations)
    split = path.stem.removeprefix("mpii_")
    candidates = [path.with_name(name.format(split=split)) for name in MAT_FILES]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise AnnotationError(
        f"PCKh on {path} needs the head boxes of its people, which an MPII list does not hold; looked for "
        f"{' and '.join(one.name for one in candidates)} beside it. gt_valid.mat comes with HRNet's MPII annotations "
        "and exists for the validation split only; or make a PckhTruth from head boxes of your own."
    )


def head_sizes(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return the size that PCKh divides by, px, of (N, 4) head boxes."""
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    return HEAD_SHARE * np.linalg.norm(boxes[:, 2:] - boxes[:, :2], axis=-1)


def check_installed() -> None:
    """Raise MissingPackageError where .mat files cannot be read; call it before hours of prediction."""
    try:
        import scipy.io  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(
            "MPII's .mat files need the package scipy, which is not installed. "
            "Install it: pip install 'litepose[eval]'."
        ) from error


def load_mat(path: str | Path) -> dict[str, Any]:
    """Return what a .mat file up to version 7.2 holds. Raises AnnotationError, MissingPackageError without scipy."""
    check_installed()
    from scipy.io import loadmat

    path = Path(path)
    if not path.is_file():
        raise AnnotationError(f"There is no .mat file {path}. Check the path; MPII's truth is gt_valid.mat.")
    try:
        return loadmat(path)
    except Exception as error:  # a foreign file breaks the reader in any way
        raise AnnotationError(
            f"{path} cannot be read as a .mat file (up to version 7.2): {error}. Give gt_valid.mat or mpii_gt_val.mat."
        ) from error


def _text(cell: Any) -> str:
    """Return a MATLAB string, which arrives as an array around arrays around a str."""
    flat = np.ravel(cell)
    while len(flat) == 1 and isinstance(flat[0], np.ndarray):
        flat = np.ravel(flat[0])
    return str(flat[0]) if len(flat) else ""


def _order(names: list[str], path: Path) -> np.ndarray:
    """Return for each keypoint of MPII's skeleton its row in the file: (16,)."""
    absent = [name for name in MAT_NAMES if name not in names]
    if absent:
        raise AnnotationError(
            f"{path}: dataset_joints lacks {', '.join(absent)}; found {', '.join(names)}. MPII's 16 are needed."
        )
    return np.array([names.index(name) for name in MAT_NAMES])


def _per_person(close: np.ndarray, labelled: np.ndarray) -> Sums:
    counted = labelled & np.isin(MPII16.keypoints, NOT_IN_MEAN, invert=True)  # (N, 16)
    return Sums((counted & close).sum(axis=1).astype(np.float64), counted.sum(axis=1).astype(np.float64))


def _share(right: Any, count: Any) -> float:
    return float(right / count) if count else -1.0


def _mean_of(shares: Sequence[float]) -> float:
    known = [share for share in shares if share >= 0]
    return float(np.mean(known)) if known else -1.0


def _mean_share(right: np.ndarray, counts: np.ndarray) -> float:
    counted = [k for k, name in enumerate(MPII16.keypoints) if name not in NOT_IN_MEAN]
    return _share(right[counted].sum(), counts[counted].sum())
