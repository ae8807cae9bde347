"""COCO and CrowdPose numbers on random small data sets: those of pycocotools and of faster-coco-eval, difference 0."""

import contextlib
import copy
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litepose.geometry import xyxy_to_xywh
from litepose.metrics.coco import evaluate_poses
from litepose.metrics.crowdpose import LEVELS, ROUNDED_TO, crowd_truth_from_coco, evaluate_crowd
from litepose.metrics.results import ResultPoses
from litepose.poses import Poses
from litepose.skeleton import COCO17, CROWDPOSE14, Skeleton

pytest.importorskip("hotcoco")

EXAMPLES = 80
LAST_BIT = 1e-15  # faster-coco-eval divides by the number of people found, pycocotools by 2^-52 more
SIDES = (0, 8, 20, 60, 200)  # px of people's boxes
AREAS = (0.0, 1.0, 32.0**2, 32.0**2 + 1, 2000.0, 96.0**2, 96.0**2 - 1, 20_000.0, 1e10)  # on the borders of the ranges
NOISES = (0.0, 0.02, 0.06, 0.15, 1.0)  # of found keypoints, as shares of the side
SCORES = (0.0, 0.25, 0.5, 1.0)  # few, so that many are equal
KINDS = ("person", "person", "person", "twin", "without keypoints", "crowd", "crowd with keypoints")

# For each picture: kinds of the people annotated; near whom (modulo their number) somebody was found, -1 = near nobody;
# how many more than COCO counts.
PICTURE = st.tuples(
    st.lists(st.sampled_from(KINDS), max_size=5),
    st.lists(st.integers(-1, 4), max_size=8),
    st.sampled_from((0, 0, 0, 0, 18)),
)
SEEDS = st.integers(0, 2**32 - 1)


def draw(pictures: list, seed: int, skeleton: Skeleton, *, named: bool = False) -> tuple[dict, dict[Any, Poses]]:
    """Return a COCO mapping and the people found. The structure is given, the places are drawn from the seed."""
    rng = np.random.default_rng(seed)
    ids = (rng.permutation(1000)[: len(pictures)] + 1).tolist()
    keys = [f"{key}.jpg" for key in ids] if named else ids
    annotations: list[dict] = []
    found = {}
    for key, (kinds, near, more) in zip(keys, pictures, strict=True):
        people = []
        for kind in kinds:
            twin = kind == "twin" and people
            person = copy.deepcopy(people[-1]) if twin else draw_person(kind, rng, skeleton)
            people.append({**person, "id": len(annotations) + len(people) + 1, "image_id": key})
        annotations += people
        targets = [people[n % len(people)] if n >= 0 and people else None for n in near + [-1, 0] * (more // 2)]
        if targets:
            found[key] = draw_found(targets, rng, skeleton)
    images = [{"id": key, "width": 640, "height": 640, "crowdIndex": float(rng.choice([0, 0.1, 0.2, 0.5, 0.8, 1]))}
              for key in keys]  # fmt: skip
    categories = [{"id": 1, "name": "person", "keypoints": list(skeleton.keypoints), "skeleton": []}]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}, found


def draw_person(kind: str, rng: np.random.Generator, skeleton: Skeleton) -> dict:
    side = float(rng.choice(SIDES))
    corner = rng.integers(0, 300, 2).astype(float)
    visible = rng.choice([0, 1, 2], skeleton.num_keypoints, p=[0.4, 0.2, 0.4])
    if kind in ("without keypoints", "crowd"):
        visible[:] = 0
    xy = (corner + rng.uniform(0, side + 1, (skeleton.num_keypoints, 2))).round(1) * (visible[:, None] > 0)
    counted = visible if skeleton is COCO17 else visible[:12]  # CrowdPose's files leave head and neck out
    return {
        "category_id": 1,
        "iscrowd": int(kind.startswith("crowd")),
        "keypoints": np.column_stack([xy, visible]).ravel().tolist(),
        "num_keypoints": int((counted > 0).sum()),
        "bbox": [*corner.tolist(), side + 1, side + 1],
        "area": float(rng.choice(AREAS)),
    }


def draw_found(targets: list, rng: np.random.Generator, skeleton: Skeleton) -> Poses:
    people = []
    for target in targets:
        noise, side, place = rng.choice(NOISES), rng.choice(SIDES), rng.uniform(0, 300, 2)
        xy = place + rng.uniform(0, side + 1, (skeleton.num_keypoints, 2))
        if target is not None:
            true = np.array(target["keypoints"]).reshape(-1, 3)[:, :2]
            xy = true + noise * target["bbox"][2] * rng.normal(0, 1, true.shape)
        people.append(xy)
    shape = len(people), skeleton.num_keypoints
    return Poses(skeleton, np.stack(people), rng.choice([0, 0.5, 1], shape), rng.choice(SCORES, len(people)))


def records_of(found: dict[Any, Poses]) -> list[dict]:
    return [
        {"image_id": key, "category_id": 1, "keypoints": triples, "bbox": box, "score": score}
        for key, poses in found.items()
        for triples, box, score in zip(
            np.concatenate([poses.keypoints, poses.keypoint_scores[..., None]], axis=-1)
            .reshape(len(poses), -1)
            .tolist(),
            xyxy_to_xywh(poses.keypoint_boxes).tolist(),
            poses.scores.tolist(),
            strict=True,
        )
    ]


def pycocotools_stats(data: dict, found: dict[Any, Poses], skeleton: Skeleton, *, ids: Any = None) -> list[float]:
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    def opened(dataset: dict) -> Any:
        made = coco.COCO()
        made.dataset = dataset
        made.createIndex()
        return made

    with contextlib.redirect_stdout(io.StringIO()):
        known = opened(copy.deepcopy(data))
        records = records_of(found)
        results = known.loadRes(records) if records else opened({**known.dataset, "annotations": []})
        run = COCOeval(known, results, "keypoints")
        run.params.kpt_oks_sigmas = np.array(skeleton.oks_sigmas)
        run.params.imgIds = run.params.imgIds if ids is None else ids
        run.evaluate()
        run.accumulate()
        run.summarize()
    return [float(value) for value in run.stats]


def faster_crowd_stats(data: dict, found: dict[Any, Poses]) -> list[float]:
    faster = pytest.importorskip("faster_coco_eval")
    known = faster.COCO(copy.deepcopy(data))
    records = records_of(found)
    results = known.loadRes(records) if records else faster.COCO({**copy.deepcopy(data), "annotations": []})
    run = faster.COCOeval_faster(
        known, results, "keypoints_crowd", kpt_oks_sigmas=np.array(CROWDPOSE14.oks_sigmas), use_area=False
    )
    run.evaluate()
    run.accumulate()
    run.summarize()
    return [float(value) for value in run.all_stats]


@settings(max_examples=EXAMPLES, deadline=None)
@given(pictures=st.lists(PICTURE, min_size=1, max_size=5), seed=SEEDS, named=st.booleans())
def test_the_ten_numbers_of_coco_are_those_of_pycocotools(pictures, seed, named):
    data, found = draw(pictures, seed, COCO17, named=named)
    ours = list(evaluate_poses(data, found, COCO17).to_json().values())
    assert ours == pycocotools_stats(data, found, COCO17)


@settings(max_examples=EXAMPLES, deadline=None)
@given(pictures=st.lists(PICTURE, min_size=1, max_size=5), seed=SEEDS)
def test_the_nine_numbers_of_crowdpose_are_those_of_faster_coco_eval(pictures, seed):
    data, found = draw(pictures, seed, CROWDPOSE14)
    theirs = faster_crowd_stats(data, found)
    crowd = crowd_truth_from_coco(data, CROWDPOSE14)
    ours = list(evaluate_crowd(crowd, found, CROWDPOSE14).to_json().values())
    assert ours[:6] == pytest.approx(theirs[:6], rel=0, abs=LAST_BIT)
    assert ours[6:] == theirs[6:]


@settings(max_examples=EXAMPLES, deadline=None)
@given(pictures=st.lists(PICTURE, min_size=1, max_size=5), seed=SEEDS)
def test_the_nine_numbers_of_crowdpose_are_those_of_pycocotools_on_areas_of_boxes(pictures, seed):
    data, found = draw(pictures, seed, CROWDPOSE14)
    crowd = crowd_truth_from_coco(data, CROWDPOSE14)
    ours = list(evaluate_crowd(crowd, found, CROWDPOSE14).to_json().values())
    for one in data["annotations"]:
        one["area"] = one["bbox"][3] * one["bbox"][2] * 0.53
    assert ours[:6] == without_sizes(pycocotools_stats(data, found, CROWDPOSE14))
    for place, level in enumerate(LEVELS, start=6):
        ids = [key for key, its in crowd.levels.items() if its == level]
        theirs = pycocotools_stats(data, found, CROWDPOSE14, ids=ids)[0] if ids else -1
        assert ours[place] == round(theirs, ROUNDED_TO)
    clean = list(evaluate_crowd(crowd, found, CROWDPOSE14, official=False).to_json().values())
    for one in data["annotations"]:
        one["num_keypoints"] = sum(visible > 0 for visible in one["keypoints"][2::3])  # head and neck with the others
    assert clean[:6] == without_sizes(pycocotools_stats(data, found, CROWDPOSE14))


def without_sizes(stats: list[float]) -> list[float]:
    return [*stats[:3], *stats[5:8]]


def test_the_random_data_hold_every_case_that_they_should():
    pictures = [(list(KINDS), [0, 1, 2, 3, 4, -1], 18), ([], [-1], 0), (["person"], [], 0), ([], [], 0)]
    data, found = draw(pictures, 3, COCO17)
    people = data["annotations"]
    kinds = {(one["iscrowd"], one["num_keypoints"] > 0) for one in people}
    assert kinds == {(0, True), (0, False), (1, False), (1, True)}
    assert people[3]["keypoints"] == people[2]["keypoints"]
    assert sorted(map(len, found.values())) == [1, 24]
    assert len(data["images"]) == 4
    stats = evaluate_poses(data, found, COCO17)
    assert 0 < stats.AP < 1


def test_people_of_a_results_file_are_ranked_by_all_their_digits():
    data, _ = draw([(["person"], [], 0), (["person"], [], 0)], 1, COCO17)
    true, false = (np.array(one["keypoints"]).reshape(-1, 3)[:, :2] for one in data["annotations"])
    scores = {"true": 0.5 + 1e-12, "false": 0.5}  # equal in float32
    people = {"true": true, "false": false + 1000}
    keys = [one["image_id"] for one in data["annotations"]]
    found = {
        key: ResultPoses(COCO17, people[name][None], np.ones((1, 17)), [scores[name]])
        for key, name in zip(keys, ("true", "false"), strict=True)
    }
    assert pytest.approx(51 / 101) == evaluate_poses(data, found, COCO17).AP  # recall .5 at precision 1
