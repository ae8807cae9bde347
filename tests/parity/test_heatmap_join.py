"""People of several crops joined as mmpose 0.13 and zhang943/lpn-pytorch@f397525 join them: rescored, OKS-NMS."""

from __future__ import annotations

import json

import numpy as np
import pytest

from litepose.codecs import Found, HeatmapCodec
from litepose.poses import Poses
from litepose.similarity import oks
from litepose.skeleton import COCO17
from parity.fixtures import load_case, roots

# Setting of the fixture -> (prefix of its predictions, codec).
LPN_SETTINGS = {
    "gtbox": ("gtbox", HeatmapCodec()),
    "det_oks0.9": ("det", HeatmapCodec()),
    "det_oks0.5": ("det", HeatmapCodec(nms_threshold=0.5)),
    "det_oks0.9_vis0": ("det", HeatmapCodec(score_threshold=0.0)),
    "det_soft0.9": ("det", HeatmapCodec(nms="soft")),
    "det_soft0.5": ("det", HeatmapCodec(nms="soft", nms_threshold=0.5)),
}


def found_of(codec: HeatmapCodec, triples: np.ndarray, area: float, score: float) -> Found:
    """One crop's person from (17, 3) x, y, score in picture px."""
    person = Poses(COCO17, triples[None, :, :2], triples[None, :, 2], [codec.score(triples[:, 2])])
    return Found(person, area=float(area), score=float(score))


def assert_same_people(poses: Poses, keypoints: np.ndarray, scores: np.ndarray) -> None:
    """keypoints: (N, 17, 3) in the order of the written file."""
    assert len(poses) == len(scores)
    np.testing.assert_array_equal(poses.keypoints, keypoints[..., :2].astype(np.float32))
    np.testing.assert_array_equal(poses.keypoint_scores, keypoints[..., 2].astype(np.float32))
    np.testing.assert_allclose(poses.scores, scores, rtol=1e-6)  # float32 here


def lpn_results(setting: str) -> list[dict]:
    for root in roots():
        path = root / "coco-topdown-eval" / f"results_{setting}.json"
        if path.is_file():
            return json.loads(path.read_text())
    pytest.skip("fixture coco-topdown-eval is not at hand; set LITEPOSE_PARITY to the folder of all fixtures")


@pytest.mark.parametrize("setting", LPN_SETTINGS)
def test_the_people_of_a_picture_are_those_that_lpn_writes(setting):
    prefix, codec = LPN_SETTINGS[setting]
    _, a = load_case("coco-topdown-eval", "eval")
    written = lpn_results(setting)
    images = a[f"{prefix}_image_id"] if prefix == "det" else a["gtdb_image_id"]
    assert {record["image_id"] for record in written} == set(images.tolist())
    for image in np.unique(images):
        found = [
            found_of(codec, a[f"{prefix}_preds"][n], a[f"{prefix}_boxes"][n, 4], a[f"{prefix}_boxes"][n, 5])
            for n in np.flatnonzero(images == image)
        ]
        records = [record for record in written if record["image_id"] == image]
        keypoints = np.array([record["keypoints"] for record in records]).reshape(-1, 17, 3)
        assert_same_people(codec.join(found, COCO17), keypoints, np.array([record["score"] for record in records]))


@pytest.mark.parametrize("prefix", ["det", "gt"])
def test_the_people_of_a_picture_are_those_that_mmpose_writes(prefix):
    _, a = load_case("topdown-coco-eval", "coco17")
    codec = HeatmapCodec()
    for image in np.unique(a[f"{prefix}_image_id"]):
        found = [
            found_of(codec, a[f"{prefix}_preds"][n], a[f"{prefix}_area"][n], a[f"{prefix}_box_score"][n])
            for n in np.flatnonzero(a[f"{prefix}_image_id"] == image)
        ]
        rows = a[f"{prefix}_result_image_id"] == image
        keypoints = a[f"{prefix}_result_keypoints"][rows].reshape(-1, 17, 3)
        assert_same_people(codec.join(found, COCO17), keypoints, a[f"{prefix}_result_score"][rows])


def test_people_are_rescored_as_in_mmpose():
    _, a = load_case("oks-nms", "coco17")
    codec = HeatmapCodec(nms="none")
    found = [found_of(codec, *person) for person in zip(a["keypoints"], a["area"], a["score"], strict=True)]
    np.testing.assert_allclose(codec.join(found, COCO17).scores, a["rescored"], rtol=1e-6)


def test_oks_of_one_person_with_others_equals_lpn():
    _, a = load_case("coco-topdown-eval", "oks-iou")
    one, others = a["g"].reshape(1, 17, 3)[..., :2], a["d"].reshape(-1, 17, 3)[..., :2]
    areas = (a["area_g"] + a["area_d"])[None] / 2
    found = oks(one, others, areas=areas, sigmas=COCO17.oks_sigmas)
    np.testing.assert_allclose(found[0], a["ious"], atol=1e-6)  # float32 there
