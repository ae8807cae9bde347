"""From picture and boxes to people, with a hand-made network that reads the one person of each crop."""

from __future__ import annotations

import numpy as np
import pytest

from dot_model import K, crop_spec, paint, write_crop_model, write_dot_model
from litepose import predictor
from litepose.detectors import whole_picture
from litepose.errors import PictureError, SettingError
from litepose.geometry import Warp
from litepose.poses import Poses
from litepose.predictor import Predictor, load
from litepose.runtimes import open_runtime
from litepose.skeleton import COCO17

SIZE = (640, 480)
# Of the crop of a 200 px wide box: 250 / 192 picture px for one input px; the quarter step ends within half a cell.
CELL_PX = 4 * 250 / 192


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_crop_model(tmp_path_factory.mktemp("crops") / "crops.onnx")


def person(x: float, y: float) -> np.ndarray:
    """Return K dots in a grid of four columns around (x, y): (K, 2); they fill 150 x 200 px."""
    index = np.arange(K)
    return np.stack([x + (index % 4 - 1.5) * 50, y + (index // 4 - 2) * 50], axis=-1).astype(np.float32)


PEOPLE = np.stack([person(150, 240), person(480, 250)])
PICTURE = paint(PEOPLE, SIZE)
BOXES = np.array([[50, 120, 250, 360], [380, 130, 580, 370]], dtype=np.float32)


@pytest.mark.parametrize("resize", ["box", "box_udp"])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0), (2.0, 1.0)])
def test_each_box_gives_the_person_in_it_at_picture_pixels(tmp_path, resize, scales):
    path = write_crop_model(tmp_path / "crops.onnx", spec=crop_spec(resize=resize))
    poses = load(path, threads=1, scales=scales)(PICTURE, BOXES)
    found = poses[np.argsort(poses.keypoints[:, 0, 0])]
    np.testing.assert_allclose(found.keypoints, PEOPLE, atol=CELL_PX)
    np.testing.assert_array_equal(found.boxes, BOXES)


def test_the_mirrored_view_is_the_mirrored_crop(model):
    # Dots know no sides, so left and right names come back swapped and only the nose agrees (see test_predictor.py).
    poses = load(model, threads=1, flip=True)(PICTURE, BOXES[:1])
    np.testing.assert_allclose(poses.keypoints[0, 0], PEOPLE[0, 0], atol=CELL_PX)


def test_crops_are_those_of_hrnet(model):
    predict = load(model, threads=1)
    (frame,) = predict.frames(PICTURE, np.array([[100, 50, 200, 300, 0.5]]))
    # 250 px high, so 187.5 px wide at an aspect of 3:4, and all of it 1.25 times.
    wanted = Warp.hrnet(np.array([150, 175]), 187.5 * 1.25 / 200, 0, (192, 256))
    np.testing.assert_allclose(frame.warp.matrix, wanted.matrix, rtol=1e-6)  # scales are float32, as HRNet's
    assert frame.area == pytest.approx(187.5 * 1.25 * 250 * 1.25, rel=1e-6)
    assert frame.score == 0.5


def test_the_area_of_a_udp_crop_is_that_of_the_padded_box(tmp_path):
    predict = load(write_crop_model(tmp_path / "crops.onnx", spec=crop_spec(resize="box_udp")), threads=1)
    (frame,) = predict.frames(PICTURE, np.array([[100, 50, 200, 300]]))
    assert frame.area == pytest.approx(187.5 * 1.25 * 250 * 1.25, rel=1e-6)


def test_a_persons_score_is_multiplied_by_its_boxes(model):
    predict = load(model, threads=1)
    alone = predict(PICTURE, BOXES[:1])
    np.testing.assert_allclose(predict(PICTURE, np.array([[*BOXES[0], 0.25]])).scores, 0.25 * alone.scores)


def test_a_person_in_two_boxes_is_found_once(model):
    boxes = np.array([[*BOXES[0], 0.9], [*(BOXES[0] + [-2, 3, 4, 1]), 0.8], [*BOXES[1], 0.1]])
    poses = load(model, threads=1)(PICTURE, boxes)
    assert len(poses) == 2
    np.testing.assert_array_equal(poses.boxes, BOXES)


def test_a_batch_of_pictures_with_different_numbers_of_boxes_gives_what_single_ones_give(model):
    predict = load(model, threads=1, flip=True)
    boxes = [BOXES, np.zeros((0, 4)), BOXES[1:], np.concatenate([BOXES] * 6)]
    pictures = [PICTURE, PICTURE, np.zeros_like(PICTURE), PICTURE[:400]]
    for together, alone in zip(predict.batch(pictures, boxes), map(predict, pictures, boxes), strict=True):
        np.testing.assert_array_equal(together.keypoints, alone.keypoints)
        np.testing.assert_array_equal(together.scores, alone.scores)


def test_without_boxes_nobody_is_found_and_the_network_does_not_run(model):
    engine = open_runtime(model, threads=1)
    calls = []
    engine._run = calls.append
    predict = Predictor(engine, boxes=lambda picture: np.zeros((0, 5)))
    for poses in (predict(PICTURE), predict(PICTURE, np.zeros((0, 4))), predict(PICTURE, np.array([]))):
        assert (len(poses), poses.skeleton, poses.boxes.shape) == (0, COCO17, (0, 4))
    assert calls == []


def test_a_given_size_is_that_of_the_crops(model):
    predict = load(model, threads=1, size=(96, 128))
    assert [frame.warp.size for frame in predict.frames(PICTURE, BOXES)] == [(96, 128)] * 2
    poses = predict(PICTURE, BOXES)
    np.testing.assert_allclose(poses[np.argsort(poses.keypoints[:, 0, 0])].keypoints, PEOPLE, atol=2 * CELL_PX)


def test_boxes_come_from_the_predictors_detector_where_a_call_gives_none(model):
    seen = []

    def detect(picture):
        seen.append(picture.shape)
        return np.array([[*BOXES[0], 0.5], [30, 30, 30, 60, 1], [700, 0, 800, 100, 1], [0, 0, np.nan, 9, 1]])

    predict = load(model, threads=1, boxes=detect)
    assert len(predict(PICTURE)) == 1  # a detector's empty box, one outside and one that is none are passed over
    assert seen == [(480, 640, 3)]
    assert len(predict(PICTURE, BOXES)) == 2
    assert seen == [(480, 640, 3)]


def test_the_shipped_bottom_up_model_gives_boxes_by_default(model, monkeypatch):
    opened = []

    def finder(name, **settings):
        opened.append((name, settings))
        return whole_picture

    monkeypatch.setattr(predictor, "open_detector", finder)
    predict = load(model, threads=1)
    predict(PICTURE, BOXES)
    assert opened == []  # only when it is needed
    assert [len(predict(PICTURE)) for _ in range(2)] == [1, 1]
    assert opened == [("litepose_xs", {"threads": 1})]
    monkeypatch.setattr(predictor, "names", list)
    with pytest.raises(SettingError, match=r"litepose_xs.*does not ship.*boxes="):
        load(model, threads=1)(PICTURE)


def test_people_of_another_predictor_serve_as_boxes(model):
    class Finder(Predictor):
        def __init__(self):
            pass

        def __call__(self, picture):
            return Poses(COCO17, PEOPLE, np.ones((2, K)), np.array([0.9, 0.05]))

    predict = load(model, threads=1, boxes=Finder())
    (frame,) = predict.frames(PICTURE)  # the second scores too low
    low, high = PEOPLE[0].min(axis=0), PEOPLE[0].max(axis=0)
    margin = 0.15 * (high - low)
    np.testing.assert_allclose(frame.box, [*(low - margin), *(high + margin)], rtol=1e-6)
    assert frame.score == 1  # of the best keypoint; the person has .9
    np.testing.assert_allclose(predict(PICTURE).keypoints[0], PEOPLE[0], atol=CELL_PX)


def test_the_word_picture_means_one_box_all_of_it(model):
    predict = load(model, threads=1, boxes="picture")
    (frame,) = predict.frames(PICTURE)
    np.testing.assert_array_equal(frame.box, [0, 0, 640, 480])
    np.testing.assert_allclose(frame.warp.matrix, predict.frame(SIZE).matrix)


def test_maps_of_a_box_show_heat_where_its_person_is(model):
    predict = load(model, threads=1)
    maps = predict.maps(PICTURE, BOXES[1])
    x, y = np.round(predict.frame(SIZE, BOXES[1]).points(PEOPLE[1, 0]) / 4).astype(int)
    assert maps.shape == (K, 64, 48)
    assert maps[0, y - 1 : y + 2, x - 1 : x + 2].max() > 0.8


def test_a_small_person_in_a_large_photo_is_cropped_bilinearly_and_a_large_one_averaged(model):
    predict = load(model, threads=1)
    picture = np.zeros((4000, 3000, 3), np.uint8)
    picture[:, ::2] = 255
    large, small = (predict.frames(picture, np.array([box]))[0] for box in ([0, 0, 3000, 4000], [0, 0, 150, 200]))
    assert large.warp.zoom < predictor.MIN_BILINEAR_CROP_ZOOM < small.warp.zoom
    inner = predict.prepare(picture, large.views[0])[:, 64:192, 48:144]
    np.testing.assert_allclose(inner, 0.5, atol=0.02)
    wanted = small.warp.image(picture)[..., ::-1].transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(predict.prepare(picture, small.views[0]), wanted)


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([[10, 10, 50, 10]], ["1 of 1", "row 0: 10, 10, 50, 10", "x1 < x2 and y1 < y2"]),
        ([*BOXES, [10, 10, 5, 60]], ["1 of 3", "row 2", "not width and height"]),
        ([[0, 0, np.nan, 9]], ["nan"]),
        ([[0, 0, np.inf, 9]], ["inf"]),
        ([[650, 0, 700, 50]], ["640x480", "650"]),
        ([[-50, -50, 0, 0]], ["-50"]),
        ([[0, 0, 9, 9, np.nan]], ["nan"]),
        ([10, 10, 50, 60], ["(4,)", "one row"]),
        ([[1, 2, 3]], ["(1, 3)", "(M, 5)"]),
        ([["a", "b", "c", "d"]], ["(1, 4)", "array"]),
    ],
)
def test_a_box_that_cannot_be_meant_is_refused(model, boxes, words):
    with pytest.raises(SettingError) as caught:
        load(model, threads=1)(PICTURE, np.array(boxes))
    for word in words:
        assert word in str(caught.value)


def test_boxes_partly_outside_the_picture_are_looked_at(model):
    assert len(load(model, threads=1)(PICTURE, np.array([[-100, 100, 270, 900]]))) == 1


def test_boxes_that_do_not_go_with_the_model_or_the_pictures_are_refused(model, tmp_path):
    bottom_up = load(write_dot_model(tmp_path / "dots.onnx"), threads=1)
    with pytest.raises(SettingError, match=r"dots.*whole picture.*Leave the boxes out"):
        bottom_up(PICTURE, BOXES)
    with pytest.raises(SettingError, match="whole picture"):
        load(tmp_path / "dots.onnx", threads=1, boxes="picture")
    with pytest.raises(SettingError, match="2 pictures came with 1"):
        load(model, threads=1).batch([PICTURE, PICTURE], [BOXES])
    with pytest.raises(SettingError, match=r"detector must give.*\(2, 3\)"):
        load(model, threads=1, boxes=lambda picture: np.zeros((2, 3)))(PICTURE)
    with pytest.raises(PictureError, match="of \\(4, 4\\)"):
        load(model, threads=1)(np.zeros((4, 4), np.uint8), BOXES)
