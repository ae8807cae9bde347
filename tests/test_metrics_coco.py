"""COCO keypoint AP: equal to pycocotools, and what it does at the edges."""

import contextlib
import io
import json
import sys

import numpy as np
import pytest

from litepose.errors import AnnotationError, MissingPackageError
from litepose.metrics.coco import evaluate_poses
from litepose.metrics.matching import coco_json
from litepose.metrics.truth import read_truth, truth_from_coco, truth_from_samples
from litepose.poses import Poses, Sample
from litepose.skeleton import COCO17, CROWDPOSE14, Skeleton

pytest.importorskip("hotcoco")

ROUNDING = 1e-15  # cocoapi adds 2^-52 to the number of people found before it divides by it


def random_truth(rng: np.random.Generator, skeleton: Skeleton, *, pictures: int = 12) -> dict:
    """A COCO mapping with people of all sizes, unlabelled keypoints, crowds and people without keypoints."""
    k, annotations = skeleton.num_keypoints, []
    ids = rng.permutation(1000)[:pictures].tolist()
    for image_id in ids:
        for _ in range(rng.integers(0, 5)):
            side = rng.uniform(20, 250)
            corner = rng.uniform(0, 300, 2)
            visible = rng.choice([0, 1, 2], k, p=[0.3, 0.2, 0.5]) * (rng.random() > 0.15)
            xy = (corner + rng.uniform(0, side, (k, 2))) * (visible[:, None] > 0)
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": int(rng.random() < 0.1),
                "keypoints": np.column_stack([xy.round(1), visible]).ravel().tolist(),
                "num_keypoints": int((visible > 0).sum()),
                "bbox": [*corner.tolist(), side, side], "area": float(0.6 * side * side),
            })  # fmt: skip
    return {
        "images": [{"id": image_id, "width": 640, "height": 640} for image_id in ids],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(skeleton.keypoints), "skeleton": []}],
    }


def random_people(rng: np.random.Generator, truth: dict, skeleton: Skeleton) -> dict[int, Poses]:
    """People near the true ones, some far away, some twice, some left out; scores with ties."""
    found: dict[int, list[np.ndarray]] = {}
    for record in truth["annotations"]:
        if rng.random() < 0.2:
            continue
        true = np.array(record["keypoints"]).reshape(-1, 3)[:, :2]
        noise = rng.choice([0.01, 0.04, 0.1, 1.0]) * record["bbox"][2]
        for _ in range(rng.integers(1, 3)):
            found.setdefault(record["image_id"], []).append(true + rng.normal(0, noise, true.shape))
    return {
        image_id: Poses(
            skeleton,
            np.stack(people),
            np.ones((len(people), skeleton.num_keypoints)),
            rng.integers(1, 6, len(people)) / 4,
        )
        for image_id, people in found.items()
    }


def pycocotools_stats(truth: dict, poses: dict[int, Poses], skeleton: Skeleton) -> list[float]:
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        known = coco.COCO()
        known.dataset = json.loads(json.dumps(truth))
        known.createIndex()
        records = [record for image_id, people in poses.items() for record in people.to_coco(image_id)]
        run = COCOeval(known, known.loadRes(records), "keypoints")
        run.params.kpt_oks_sigmas = np.array(skeleton.oks_sigmas)
        run.evaluate()
        run.accumulate()
        run.summarize()
    return run.stats.tolist()


@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14], ids=lambda skeleton: skeleton.name)
@pytest.mark.parametrize("seed", range(6))
def test_all_ten_numbers_equal_pycocotools(skeleton, seed):
    rng = np.random.default_rng(seed)
    truth = random_truth(rng, skeleton)
    poses = random_people(rng, truth, skeleton)
    stats = evaluate_poses(truth, poses, skeleton).to_json()
    assert list(stats.values()) == list(pycocotools_stats(truth, poses, skeleton))
    assert 0 < stats["AP"] < 1


def test_more_than_twenty_people_in_a_picture_count_as_in_pycocotools():
    rng = np.random.default_rng(9)
    truth = random_truth(rng, COCO17, pictures=2)
    one = truth["annotations"][0]
    xy = np.array(one["keypoints"]).reshape(17, 3)[:, :2] + rng.normal(0, 3, (30, 17, 2))
    poses = {one["image_id"]: Poses(COCO17, xy, np.ones((30, 17)), rng.random(30))}
    stats = evaluate_poses(truth, poses, COCO17).to_json()
    assert list(stats.values()) == list(pycocotools_stats(truth, poses, COCO17))


def someone(x: float = 50) -> np.ndarray:
    xy = np.random.default_rng(1).uniform(0, 100, (17, 2)) + x
    return np.column_stack([xy, np.full(17, 2.0)])


def sample(keypoints: np.ndarray, *, ignore: np.ndarray | None = None, id: int | str = 7) -> Sample:
    n = len(keypoints)
    return Sample(COCO17, np.zeros((400, 400, 3), np.uint8), keypoints, np.tile([50, 50, 150, 150], (n, 1)),
                  np.full(n, 10_000.0), ignore=ignore, id=id)  # fmt: skip


def poses_of(keypoints: np.ndarray, scores: list[float]) -> Poses:
    return Poses(COCO17, keypoints[..., :2], np.ones(keypoints.shape[:2]), np.array(scores))


def test_perfect_people_score_one_and_nobody_found_scores_zero():
    truth = truth_from_samples([sample(someone()[None])])
    perfect = evaluate_poses(truth, {7: poses_of(someone()[None], [0.5])}, COCO17)
    assert pytest.approx((1, 1, 1, -1), abs=ROUNDING) == (perfect.AP, perfect.AR, perfect.APL, perfect.APM)
    nobody = evaluate_poses(truth, {}, COCO17)
    assert (nobody.AP, nobody.AR) == (0, 0)


def test_truth_without_people_has_no_score():
    stats = evaluate_poses(truth_from_samples([sample(np.zeros((0, 17, 3)))]), {}, COCO17)
    assert set(stats.to_json().values()) == {-1.0}


def test_a_false_person_lowers_ap_but_not_inside_an_ignored_region():
    false_one = someone(250)
    ignore = np.zeros((400, 400), dtype=bool)
    ignore[240:360, 240:360] = True
    poses = {7: poses_of(np.stack([someone(), false_one]), [0.5, 0.9])}
    with_region = evaluate_poses(truth_from_samples([sample(someone()[None], ignore=ignore)]), poses, COCO17)
    without = evaluate_poses(truth_from_samples([sample(someone()[None])]), poses, COCO17)
    assert pytest.approx(1, abs=ROUNDING) == with_region.AP
    assert pytest.approx(0.5, abs=ROUNDING) == without.AP


def test_picture_ids_may_be_strings():
    truth = truth_from_samples([sample(someone()[None], id="beach.jpg"), sample(someone()[None], id="street.jpg")])
    assert evaluate_poses(truth, {"beach.jpg": poses_of(someone()[None], [1])}, COCO17).AR == 0.5


def test_keypoints_that_the_truth_does_not_know_do_not_count():
    triples = np.concatenate([someone(), [[60, 60, 2]]])[:14]
    names = list(CROWDPOSE14.keypoints)
    truth = {
        "images": [{"id": 1}],
        "categories": [{"keypoints": names}],
        "annotations": [{"image_id": 1, "keypoints": triples.ravel().tolist(), "bbox": [0, 0, 99, 99], "area": 5000}],
    }
    keypoints = np.full((17, 2), -999.0)  # COCO's five of the face stay far away
    for name in set(names) & set(COCO17.keypoints):
        keypoints[COCO17.index(name)] = triples[names.index(name), :2]
    poses = Poses(COCO17, keypoints[None], np.ones((1, 17)), np.ones(1))
    assert pytest.approx(1, abs=ROUNDING) == evaluate_poses(truth, {1: poses}, COCO17).AP


def test_the_truth_understands_the_spellings_that_datasets_understand():
    record = {"image_id": 1, "keypoints": someone().ravel().tolist(), "bbox": [0, 0, 99, 99], "area": 5000}
    names = [name.replace("_", " ").title() for name in COCO17.keypoints]  # Left Shoulder
    truth = truth_from_coco(
        {"images": [{"id": 1}], "categories": [{"keypoints": names}], "annotations": [record]}, COCO17
    )
    np.testing.assert_array_equal(truth.pictures[0].keypoints[0], someone())


def test_pictures_unknown_to_the_truth_are_an_error():
    with pytest.raises(AnnotationError, match=r"does not list.*99"):
        evaluate_poses(truth_from_samples([sample(someone()[None])]), {99: poses_of(someone()[None], [1])}, COCO17)


def test_truth_on_another_skeleton_is_an_error():
    with pytest.raises(AnnotationError, match=r"truth is on coco17.*crowdpose14"):
        evaluate_poses(truth_from_samples([sample(someone()[None])]), {}, CROWDPOSE14)


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hotcoco", None)
    with pytest.raises(MissingPackageError, match=r"litepose\[eval\]"):
        evaluate_poses(truth_from_samples([sample(someone()[None])]), {}, COCO17)


def test_truth_survives_the_way_to_coco_json_and_back():
    truth = truth_from_coco(random_truth(np.random.default_rng(3), COCO17), COCO17)
    back = truth_from_coco(coco_json(truth), COCO17)
    assert len(truth) == len(back) == 12
    ordered = sorted(truth.pictures, key=lambda picture: picture.id)
    for before, after in zip(ordered, back.pictures, strict=True):
        np.testing.assert_array_equal(before.keypoints, after.keypoints)
        np.testing.assert_array_equal(before.boxes_xywh, after.boxes_xywh)
        np.testing.assert_array_equal(before.scored, after.scored)


def test_values_that_cannot_be_are_left_out_of_the_truth():
    keypoints = someone()
    keypoints[3, 0], keypoints[4, 1] = np.nan, np.inf
    record = {"image_id": 1, "keypoints": keypoints.ravel().tolist(), "bbox": [0, 0, float("nan"), 5], "area": None}
    stranger = {"image_id": 99, "keypoints": keypoints.ravel().tolist()}
    truth = truth_from_coco({"images": [{"id": 1}], "annotations": [record, stranger]}, COCO17)
    (picture,) = truth.pictures
    assert picture.labelled.sum() == 15
    assert not picture.labelled[0, 3:5].any()
    low, high = keypoints[picture.labelled[0], :2].min(axis=0), keypoints[picture.labelled[0], :2].max(axis=0)
    np.testing.assert_allclose(picture.boxes_xywh[0], [*low, *(high - low)], rtol=1e-6)  # through float32
    np.testing.assert_allclose(picture.areas, 0.53 * (high - low).prod(), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot be read"),
        ("{", "is no JSON"),
        ("[]", '"images" and "annotations"'),
        ('{"images": [{}], "annotations": []}', "needs an id"),
        ('{"images": [], "annotations": [{"keypoints": %s}]}' % ([1] * 51), "image_id"),
        ('{"images": [{"id": 3}], "annotations": [{"image_id": 3, "keypoints": [1, 2, 2]}]}', r"17 keypoints.*\[1\]"),
        ('{"images": [{"id": 3}], "annotations": [], "categories": [{"keypoints": ["tail"]}]}', "shares no keypoint"),
    ],
)
def test_broken_truth_files_are_explained(tmp_path, text, words):
    path = tmp_path / "truth.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AnnotationError, match=words) as caught:
        read_truth(path, COCO17)
    assert str(path) in str(caught.value)
