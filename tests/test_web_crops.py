"""The page's top-down half gives what Python gives: boxes, crops, keypoints, people without those found twice."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from dot_model import K, crop_spec
from litepose.codecs import Found
from litepose.detectors import PoseDetector, usable_boxes
from litepose.geometry import Warp
from litepose.poses import Poses
from litepose.predictor import Predictor
from web_node import run_module

CROPS = 'import { boxesOf, decodeCrop, join, planOfBox } from "{STATIC}/crops.js";'
INPUT = (
    CROPS
    + """
import { MIN_CROP_ZOOM, planOfShrunk, shrink, shrunkSize, toTensor } from "{STATIC}/picture.js";
const [height, width] = given.image.dims;
const made = planOfBox(given.box, given.spec);
let pixels = { data: given.image.data, width, height };
const small = shrunkSize([width, height], made, MIN_CROP_ZOOM);
const sampled = small ? planOfShrunk(made, [width, height], small) : made;
if (small) pixels = shrink(pixels, small);
answer({ made, tensor: toTensor(pixels, sampled, given.spec) });
"""
)


def people(rng, count, spec, size=(640, 480)):
    keypoints = rng.uniform(-20, max(size), (count, K, 2)).astype(np.float32)
    scores = (rng.random((count, K)) * (rng.random((count, K)) > 0.3)).astype(np.float32)
    return Poses(spec.skeleton, keypoints, scores, rng.random(count).astype(np.float32))


def as_json(poses):
    return [
        {"score": float(score), "keypoints": np.column_stack([points, heats]).astype(float).tolist()}
        for points, heats, score in zip(poses.keypoints, poses.keypoint_scores, poses.scores, strict=True)
    ]


def test_the_page_draws_the_boxes_that_python_draws():
    spec, size = crop_spec(), (640, 480)
    found = people(np.random.default_rng(0), 40, spec)
    found.keypoints[3] = found.keypoints[3, :1]  # all in one place: no box
    found.keypoints[4, :, 1] = 100  # in a row
    found.keypoints[5] -= 2000  # beside the picture
    expected = usable_boxes(PoseDetector(lambda picture: found)(np.zeros((480, 640, 3), np.uint8)), size)
    boxes = run_module(CROPS + "answer(boxesOf(given.people, given.size));", people=as_json(found), size=size)
    assert 20 < len(boxes) == len(expected) < 40
    np.testing.assert_allclose([one["box"] for one in boxes], expected[:, :4], atol=1e-3)
    np.testing.assert_allclose([one["score"] for one in boxes], expected[:, 4], atol=1e-6)


@pytest.mark.parametrize("box", [(20, 30, 200, 400), (-50, -20, 130, 90), (10, 100, 900, 300), (0, 0, 2000, 1500)])
def test_the_page_cuts_the_crops_that_python_cuts(box):
    coarse = np.random.default_rng(0).integers(0, 255, (75, 100, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (2000, 1500), interpolation=cv2.INTER_CUBIC)
    spec = dataclasses.replace(
        crop_spec(), input=dataclasses.replace(crop_spec().input, mean=(0.4,) * 3, std=(0.2,) * 3)
    )

    class Engine:
        size = None

    Engine.spec = spec
    predictor = Predictor(Engine())
    view = predictor.views((2000, 1500), np.array(box))[0]
    rgba = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)
    answer = run_module(INPUT, image=rgba, spec=json.loads(spec.to_json()), box=box)
    made = answer["made"]
    found = Warp(np.array([[made["zoom"], 0, made["dx"]], [0, made["zoom"], made["dy"]]]), tuple(made["size"]))
    np.testing.assert_allclose(found.matrix, view.warp.matrix, atol=1e-4)
    tensor = np.array(answer["tensor"], dtype=np.float32).reshape(3, *view.warp.size[::-1])
    difference = np.abs(tensor - predictor.prepare(image, view)) * 0.2 * 255  # in levels of 255
    assert difference.max() < 3 and np.mean(difference > 0.6) < 0.01  # OpenCV samples at 32nds of a pixel


@pytest.mark.parametrize("refinement", ["quarter", "none"])
def test_the_page_reads_a_crop_as_python_does(refinement):
    spec = crop_spec(refinement=refinement)
    rng = np.random.default_rng(1)
    for maps in (rng.random((K, 64, 48)), rng.random((K, 64, 48)) - 0.9999, np.zeros((K, 64, 48))):
        maps = maps.astype(np.float32)
        maps[0] = 0
        expected = spec.codec.decode(maps, spec.skeleton)
        person = run_module(
            CROPS + "answer(decodeCrop(given.maps, given.spec));", maps=maps[None], spec=json.loads(spec.to_json())
        )
        assert (person is None) == (len(expected) == 0)
        if person is not None:
            triples = np.array(person["keypoints"])
            np.testing.assert_allclose(triples[:, :2], expected.keypoints[0], atol=1e-4)
            np.testing.assert_allclose(triples[:, 2], expected.keypoint_scores[0], atol=1e-6)
            assert person["score"] == pytest.approx(expected.scores[0], abs=1e-6)


@pytest.mark.parametrize("nms", ["hard", "none"])
def test_the_page_takes_out_the_same_people_who_were_found_twice(nms):
    spec = crop_spec(nms=nms, bias_px=1.0)
    rng = np.random.default_rng(2)
    first = people(rng, 12, spec)
    again = dataclasses.replace(
        first, keypoints=first.keypoints + rng.uniform(-6, 6, first.keypoints.shape).astype(np.float32),
        scores=first.scores.copy(),
    )  # fmt: skip
    crops = [one for pair in zip(first, again, strict=True) for one in pair]
    areas, scores = rng.uniform(1e4, 9e4, len(crops)), rng.random(len(crops))
    found = [Found(one, area, score) for one, area, score in zip(crops, areas, scores, strict=True)]
    expected = spec.codec.join(found, spec.skeleton).sorted()
    given = [
        {"person": as_json(one)[0], "area": area, "score": score}
        for one, area, score in zip(crops, areas.tolist(), scores.tolist(), strict=True)
    ]
    kept = run_module(CROPS + "answer(join(given.found, given.spec));", found=given, spec=json.loads(spec.to_json()))
    assert len(kept) == len(expected) and (len(kept) == 24) == (nms == "none")
    np.testing.assert_allclose([one["score"] for one in kept], expected.scores, atol=1e-6)
    np.testing.assert_allclose(np.array([one["keypoints"] for one in kept])[..., :2], expected.keypoints, atol=1e-3)
