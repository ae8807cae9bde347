"""Top-down evaluation from files to COCO AP: boxes, crops, joining and scoring together give the references' numbers.

The references' keypoints stand in for a network's; everything else is ours: boxes read from the file of detections or
cleaned from the annotation, the crop around each, its area, rescoring, OKS-NMS, COCO AP.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dot_model import crop_spec
from litepose.codecs import Found, HeatmapCodec
from litepose.detectors import read_box_file, truth_boxes
from litepose.geometry import Warp, xywh_to_xyxy
from litepose.metrics.coco import evaluate_poses
from litepose.metrics.truth import read_truth
from litepose.poses import Poses, Sample
from litepose.predictor import Frame, Predictor
from litepose.skeleton import COCO17
from parity.fixtures import file_of, load_case

pytest.importorskip("hotcoco")

STATS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
SIZE = (192, 256)

# Setting of the LPN fixture -> codec; "gtbox" takes the annotated boxes, the others the file of detections.
LPN_SETTINGS = {
    "gtbox": HeatmapCodec(),
    "det_oks0.9": HeatmapCodec(),
    "det_oks0.5": HeatmapCodec(nms_threshold=0.5),
    "det_oks0.9_vis0": HeatmapCodec(score_threshold=0.0),
    "det_soft0.9": HeatmapCodec(nms="soft"),
    "det_soft0.5": HeatmapCodec(nms="soft", nms_threshold=0.5),
}


class NoEngine:
    """A runtime that only has a spec."""

    spec = crop_spec(size=SIZE)
    size, threads = None, 1


def truth_file(topic: str, folder: Path) -> Path:
    """Copy the annotations of a topic into `folder`, keypoints by their names (mmpose's are called k0 to k16)."""
    data = json.loads(file_of(topic, "gt.json").read_text())
    data["categories"][0]["keypoints"] = list(COCO17.keypoints)
    (folder / "truth.json").write_text(json.dumps(data))
    return folder / "truth.json"


def samples_of(topic: str) -> dict[int, Sample]:
    """Return black pictures by id, with the people that HRNet's loader takes: no crowd, with a keypoint.

    Not through our dataset, which repairs impossible boxes and areas before anybody sees them; HRNet drops such people.
    """
    data = json.loads(file_of(topic, "gt.json").read_text())
    samples = {}
    for record in data["images"]:
        people = [one for one in data["annotations"] if one["image_id"] == record["id"] and not one["iscrowd"]]
        people = [one for one in people if any(one["keypoints"])]
        boxes = np.array([one["bbox"] for one in people]).reshape(-1, 4)
        samples[record["id"]] = Sample(
            COCO17, np.zeros((record["height"], record["width"], 3), np.uint8),
            np.array([one["keypoints"] for one in people]).reshape(-1, 17, 3),
            xywh_to_xyxy(boxes), np.array([one["area"] for one in people]), id=record["id"],
        )  # fmt: skip
    return samples


def frames_of(topic: str, boxes: str, *, min_score: float = 0.0) -> dict[int, tuple[Frame, ...]]:
    """Return the frames of each picture. boxes: "gt" or the name of a file of detections."""
    samples = samples_of(topic)
    if boxes == "gt":
        by_id = {key: truth_boxes(sample)[0] for key, sample in samples.items()}
    else:
        by_id = read_box_file(file_of(topic, boxes), known=samples, min_score=min_score)
    predictor = Predictor(NoEngine())
    return {key: predictor.frames(samples[key].image, by_id[key]) for key in samples if key in by_id}


def rows_of(images: np.ndarray, frames: dict[int, tuple[Frame, ...]]) -> list[tuple[Frame, int]]:
    """Pair every frame with its row in the reference's order, in which a picture's boxes keep their order."""
    pairs = []
    for key, of_picture in frames.items():
        rows = np.flatnonzero(images == key)
        assert len(rows) == len(of_picture), f"picture {key}: the reference looks at {len(rows)} boxes"
        pairs += list(zip(of_picture, rows.tolist(), strict=True))
    assert len(pairs) == len(images)
    return pairs


def assert_same_frames(pairs, center, scale, area, score) -> None:
    """Tolerances: our boxes are float32 corners, the references' float64 x, y, width, height."""
    for frame, row in pairs:
        wanted = Warp.hrnet(center[row], scale[row], 0, SIZE)
        corners = np.array([[0, 0], [640, 480]])
        np.testing.assert_allclose(frame.warp.points(corners), wanted.points(corners), atol=2e-3)  # input px
        assert frame.area == pytest.approx(area[row], rel=1e-5)
        assert frame.score == pytest.approx(score[row], rel=1e-6)


def stats_of(
    topic: str, folder: Path, codec: HeatmapCodec, images: np.ndarray, pairs, keypoints: np.ndarray
) -> np.ndarray:
    found: dict[int, list[Found]] = {}
    for frame, row in sorted(pairs, key=lambda pair: pair[1]):
        triples = keypoints[row]
        person = Poses(COCO17, triples[None, :, :2], triples[None, :, 2], [codec.score(triples[:, 2])])
        found.setdefault(int(images[row]), []).append(Found(person, frame.area, frame.score))
    truth = read_truth(truth_file(topic, folder), COCO17)
    people = {key: codec.join(of_picture, COCO17).sorted() for key, of_picture in found.items()}
    stats = evaluate_poses(truth, people, COCO17)
    return np.array([getattr(stats, name) for name in STATS])


@pytest.mark.parametrize("setting", LPN_SETTINGS)
def test_ap_from_boxes_to_the_end_is_that_of_lpn(setting, tmp_path):
    topic, (_, a) = "coco-topdown-eval", load_case("coco-topdown-eval", "eval")
    gt = setting == "gtbox"
    images, prefix = (a["gtdb_image_id"], "gtbox") if gt else (a["det_image_id"], "det")
    center, scale = (a["gtdb_center"], a["gtdb_scale"]) if gt else (a["det_thr0_center"], a["det_thr0_scale"])
    pairs = rows_of(images, frames_of(topic, "gt" if gt else "detections.json"))
    assert_same_frames(pairs, center, scale, a[f"{prefix}_boxes"][:, 4], a[f"{prefix}_boxes"][:, 5])
    stats = stats_of(topic, tmp_path, LPN_SETTINGS[setting], images, pairs, a[f"{prefix}_preds"])
    np.testing.assert_allclose(stats, a[f"stats_{setting}"], rtol=0, atol=1e-12)


def test_boxes_below_a_score_are_left_out_as_in_lpn():
    _, a = load_case("coco-topdown-eval", "eval")
    kept = a["det_thr0_index"].tolist()
    images = a["det_image_id"][[kept.index(index) for index in a["det_thr0.3_index"].tolist()]]
    frames = frames_of("coco-topdown-eval", "detections.json", min_score=0.3)
    pairs = rows_of(images, frames)
    score = np.array([frame.score for frame, _ in sorted(pairs, key=lambda pair: pair[1])])
    area = (a["det_thr0.3_scale"] * 200.0).prod(axis=1)
    assert_same_frames(pairs, a["det_thr0.3_center"], a["det_thr0.3_scale"], area, score)
    assert score.min() >= 0.3


@pytest.mark.parametrize("prefix", ["det", "gt"])
def test_ap_from_boxes_to_the_end_is_that_of_mmpose(prefix, tmp_path):
    topic, (_, a) = "topdown-coco-eval", load_case("topdown-coco-eval", "coco17")
    images = a[f"{prefix}_image_id"]
    pairs = rows_of(images, frames_of(topic, "gt" if prefix == "gt" else "det.json"))
    numbers = (a[f"{prefix}_{name}"] for name in ("center", "scale", "area", "box_score"))
    assert_same_frames(pairs, *numbers)
    stats = stats_of(topic, tmp_path, HeatmapCodec(), images, pairs, a[f"{prefix}_preds"])
    np.testing.assert_allclose(stats, a[f"{prefix}_stats"], rtol=0, atol=1e-12)
