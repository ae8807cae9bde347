"""CrowdPose AP against the evaluation of mit-han-lab/litepose (crowdposetools on the people it writes)."""

import numpy as np
import pytest

from litepose.metrics.crowdpose import crowd_truth_from_coco, evaluate_crowd
from litepose.poses import Poses
from litepose.skeleton import CROWDPOSE14
from parity.fixtures import load_case

pytest.importorskip("hotcoco")


def test_the_nine_numbers_of_the_reference_people_equal_the_reference():
    about, a = load_case("evaluation", "crowdpose-official-path")
    ids = [image["id"] for image in about["ground_truth"]["images"]]
    found = {
        key: Poses(CROWDPOSE14, people[..., :2], people[..., 2], a["scores"][a["image_index"] == index])
        for index, key in enumerate(ids)
        for people in [a["predictions"][a["image_index"] == index]]
    }
    np.testing.assert_array_equal(CROWDPOSE14.oks_sigmas, about["sigmas"])
    truth = crowd_truth_from_coco(about["ground_truth"], CROWDPOSE14)
    stats = evaluate_crowd(truth, found, CROWDPOSE14).to_json()
    names = ["AP", "Ap .5", "AP .75", "AR", "AR .5", "AR .75", "AP (easy)", "AP (medium)", "AP (hard)"]
    assert list(about["stats"]) == names
    assert list(stats.values()) == list(about["stats"].values())
