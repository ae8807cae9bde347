"""COCO AP against the evaluation of mit-han-lab/litepose (pycocotools on the people it writes)."""

from litepose.metrics.coco import evaluate_poses
from litepose.poses import Poses
from litepose.skeleton import COCO17
from parity.fixtures import load_case


def test_ap_of_the_reference_people_equals_the_reference():
    about, a = load_case("evaluation", "coco-official-path")
    ids = [image["id"] for image in about["ground_truth"]["images"]]
    poses = {
        key: Poses(COCO17, people[..., :2], people[..., 2], a["scores"][a["image_index"] == index])
        for index, key in enumerate(ids)
        for people in [a["predictions"][a["image_index"] == index]]
    }
    stats = evaluate_poses(about["ground_truth"], poses, COCO17).to_json()
    assert list(about["stats"]) == [
        "AP",
        "Ap .5",
        "AP .75",
        "AP (M)",
        "AP (L)",
        "AR",
        "AR .5",
        "AR .75",
        "AR (M)",
        "AR (L)",
    ]
    assert list(stats.values()) == list(about["stats"].values())
