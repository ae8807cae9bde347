"""Where boxes come from: other models, detectors in ONNX files, files of detections, annotations."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dot_model import lay_out, paint, write_dot_model
from litepose import images
from litepose.detectors import OnnxDetector, PoseDetector, read_box_file, truth_boxes, usable_boxes, whole_picture
from litepose.errors import AnnotationError, ModelError, SettingError
from litepose.poses import Poses, Sample
from litepose.predictor import load, open_detector
from litepose.similarity import iou
from litepose.skeleton import COCO17, MPII16

PICTURE = np.zeros((480, 640, 3), np.uint8)
ROWS = np.array([[10, 20, 110, 220, 0.9], [5, 5, 50, 60, 0.2], [100, 100, 200, 200, 0.8]], dtype=np.float32)


def write_detector(
    path: Path, outputs: dict[str, np.ndarray], *, size: tuple[int | str, int | str] = ("width", "height"), channels=3
) -> Path:
    """Write a network that finds the same things everywhere: `outputs`, and once what its input holds, as a proof."""
    kinds = {"f": TensorProto.FLOAT, "i": TensorProto.INT64}
    constants = [numpy_helper.from_array(value, f"{name}_0") for name, value in outputs.items()]
    constants.append(numpy_helper.from_array(np.float32(0), "zero"))
    nodes = [
        helper.make_node("Mul", ["input", "zero"], ["nothing"]),
        helper.make_node("ReduceMax", ["nothing"], ["zero_again"], keepdims=0),
    ]
    for name, value in outputs.items():
        kind = kinds[value.dtype.kind]
        nodes.append(helper.make_node("Cast", ["zero_again"], [f"{name}_zero"], to=kind))
        nodes.append(helper.make_node("Add", [f"{name}_0", f"{name}_zero"], [name]))
    shape = ["batch", channels, size[1], size[0]]
    graph = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(n, kinds[v.dtype.kind], list(v.shape)) for n, v in outputs.items()],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    return path


LAYOUTS = {
    "boxes with scores": {"dets": ROWS[None], "labels": np.array([[0, 0, 0]])},
    "without a batch axis": {"dets": ROWS},
    "boxes beside scores": {"boxes": ROWS[None, :, :4], "scores": ROWS[None, :, 4]},
    "scores first": {"scores": ROWS[:, 4], "labels": np.array([0, 0, 0]), "boxes": ROWS[:, :4]},
    "scores in a column": {"boxes": ROWS[None, :, :4], "scores": ROWS[None, :, 4:]},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_are_told_by_their_shapes(tmp_path, layout):
    detect = OnnxDetector(write_detector(tmp_path / "d.onnx", LAYOUTS[layout]), size=(320, 320), threads=1)
    # 640x480 fits into 320 at half its size; the box with a score of 0.2 is below 0.3.
    np.testing.assert_allclose(detect(PICTURE), (ROWS * [2, 2, 2, 2, 1])[[0, 2]], rtol=1e-6)


def test_a_count_of_boxes_that_looks_like_scores_is_not_mistaken(tmp_path):
    five = np.concatenate([ROWS, ROWS[:2]])[None]  # (1, 5, 4) boxes and (1, 5) scores: the latter looks like a box
    path = write_detector(tmp_path / "d.onnx", {"scores": five[..., 4], "boxes": five[..., :4]})
    np.testing.assert_allclose(OnnxDetector(path, threads=1, min_score=0)(PICTURE)[:, 4], five[0, :, 4])


def test_only_the_persons_label_counts(tmp_path):
    path = write_detector(tmp_path / "d.onnx", {"dets": ROWS[None], "labels": np.array([[7, 0, 0]])})
    assert len(OnnxDetector(path, threads=1)(PICTURE)) == 1
    np.testing.assert_allclose(OnnxDetector(path, threads=1, label=7)(PICTURE)[0, 4], 0.9)


def test_nothing_found_is_no_box(tmp_path):
    path = write_detector(tmp_path / "d.onnx", {"dets": np.zeros((1, 0, 5), np.float32)})
    assert OnnxDetector(path, threads=1)(PICTURE).shape == (0, 5)


def test_a_fixed_input_size_is_the_files_own(tmp_path):
    path = write_detector(tmp_path / "d.onnx", {"dets": ROWS[None]}, size=(160, 96))
    detect = OnnxDetector(path, size=(320, 320), threads=1)
    assert detect.size == (160, 96)
    np.testing.assert_allclose(detect(PICTURE)[0, :4], ROWS[0, :4] * 5, rtol=1e-6)  # 480 px onto 96


class Seeing:
    """A session that keeps what it was fed."""

    def __init__(self, session):
        self.session, self.fed = session, []

    def get_inputs(self):
        return self.session.get_inputs()

    def get_outputs(self):
        return self.session.get_outputs()

    def run(self, names, feeds):
        self.fed.append(feeds["input"])
        return self.session.run(names, feeds)


@pytest.mark.parametrize("colour", ["BGR", "RGB"])
def test_the_picture_is_letterboxed_and_normalised(tmp_path, colour):
    path = write_detector(tmp_path / "d.onnx", {"dets": ROWS[None]})
    detect = OnnxDetector(path, size=(64, 64), mean=(10, 20, 30), std=(1, 2, 4), colour=colour, threads=1)
    detect._session = Seeing(detect._session)
    picture = np.full((30, 60, 3), (200, 100, 50), np.uint8)
    detect(picture)
    (fed,) = detect._session.fed
    planes = np.array([200, 100, 50] if colour == "BGR" else [50, 100, 200])
    inside, outside = (planes - [10, 20, 30]) / [1, 2, 4], (114 - np.array([10, 20, 30])) / [1, 2, 4]
    assert fed.shape == (1, 3, 64, 64)
    np.testing.assert_allclose(fed[0, :, :32], np.broadcast_to(inside[:, None, None], (3, 32, 64)))
    np.testing.assert_allclose(fed[0, :, 32:], np.broadcast_to(outside[:, None, None], (3, 32, 64)))


REFUSED = {
    "no boxes": ({"features": np.zeros((1, 8, 10, 10), np.float32)}, {}, ["features (1, 8, 10, 10)", "(..., N, 5)"]),
    "boxes without scores": ({"boxes": ROWS[None, :, :4]}, {}, ["boxes (1, 3, 4)", "scores (..., N)"]),
    "a picture of one plane": ({"dets": ROWS[None]}, {"channels": 1}, ["input ('batch', 1, 'height', 'width')"]),
    "a batch of two": ({"dets": np.stack([ROWS, ROWS])}, {}, ["dets (2, 3, 5)"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_no_detector_is_refused_when_it_is_opened(tmp_path, case):
    outputs, settings, words = REFUSED[case]
    path = write_detector(tmp_path / "other.onnx", outputs, **settings)
    with pytest.raises(ModelError) as caught:
        OnnxDetector(path, threads=1)
    for word in ["other.onnx", *words]:
        assert word in str(caught.value)


def test_files_that_are_no_model_and_settings_that_are_none_are_refused(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(ModelError, match=r"text\.onnx"):
        OnnxDetector(tmp_path / "text.onnx")
    with pytest.raises(ModelError, match=r"gone\.onnx"):
        OnnxDetector(tmp_path / "gone.onnx")
    with pytest.raises(SettingError, match=r"'GBR'.*BGR, RGB"):
        OnnxDetector(tmp_path / "text.onnx", colour="GBR")


def test_a_word_a_model_and_a_detector_are_told_apart(tmp_path):
    assert open_detector("picture") is whole_picture
    assert open_detector(whole_picture) is whole_picture
    pose_model = open_detector(write_dot_model(tmp_path / "dots.onnx"), threads=1)
    assert isinstance(pose_model, PoseDetector)
    assert pose_model.find.runtime.threads == 1
    detector = open_detector(str(write_detector(tmp_path / "d.onnx", {"dets": ROWS[None]})), threads=1)
    assert isinstance(detector, OnnxDetector)
    with pytest.raises(ModelError, match="neither shipped nor a file"):
        open_detector("litepose_xss")
    with pytest.raises(SettingError, match=r"boxes\.json.*read_box_file"):
        open_detector(tmp_path / "boxes.json")


@pytest.mark.skipif(
    "LITEPOSE_DATA" not in os.environ, reason="set LITEPOSE_DATA to the folder with models/rtmdet*.onnx"
)
def test_rtmdet_finds_the_people_of_a_photo():
    path = Path(os.environ["LITEPOSE_DATA"]) / "models" / "rtmdet_nano_person_end2end.onnx"
    photo = images.read(Path(__file__).parents[1] / "examples" / "astronaut.jpg")
    boxes = OnnxDetector(path, threads=1)(photo)
    # The astronaut fills the photo from x = 15 to 363 at its lower edge, y = 14 at the hair, measured by eye.
    assert iou(boxes[:, :4], np.array([[15, 14, 363, 512]])).max() > 0.9
    assert len(boxes) == 1


def test_a_bottom_up_model_gives_boxes_around_its_people(tmp_path):
    people = np.concatenate([lay_out(1, (240, 480)), lay_out(1, (240, 480)) + np.float32([330, 40])])
    detect = PoseDetector(load(write_dot_model(tmp_path / "dots.onnx"), threads=1))
    boxes = detect(paint(people, (640, 480)))
    extent = np.ptp(people, axis=1)
    wanted = np.concatenate([people.min(axis=1) - 0.15 * extent, people.max(axis=1) + 0.15 * extent], axis=1)
    assert boxes.shape == (2, 5) and (boxes[:, 4] <= 1).all()
    np.testing.assert_allclose(boxes[np.argsort(boxes[:, 0]), :4], wanted, atol=4)  # a cell of the finer map


def test_people_of_one_point_or_low_score_get_no_box():
    keypoints = np.zeros((3, 17, 2))
    keypoints[:, 1] = 50
    found = np.zeros((3, 17))
    found[:, :2] = 1
    found[1, 1] = 0  # one keypoint alone has no extent
    poses = Poses(COCO17, keypoints.astype(np.float32), found, np.array([3.0, 0.9, 0.05]))
    boxes = PoseDetector(lambda picture: poses, margin=0.1)(PICTURE)
    np.testing.assert_allclose(boxes, [[-5, -5, 55, 55, 1]], rtol=1e-6)  # a score above 1 counts as 1
    poses.keypoints[0, 1] = (60, 0)  # a quarter of 60 px stands for the height of 0
    boxes = PoseDetector(lambda picture: poses, margin=0.1)(PICTURE)
    np.testing.assert_allclose(boxes, [[-6, -1.5, 66, 1.5, 1]], rtol=1e-6)
    assert PoseDetector(lambda picture: Poses.empty(COCO17))(PICTURE).shape == (0, 5)


# Annotated boxes -----------------------------------------------------------------------------------


def sample(boxes, *, areas=None, skeleton=COCO17, visible=2) -> Sample:
    keypoints = np.full((len(boxes), skeleton.num_keypoints, 3), visible, dtype=np.float32)
    areas = np.full(len(boxes), 100.0) if areas is None else np.array(areas)
    return Sample(skeleton, PICTURE, keypoints, np.array(boxes, dtype=np.float32), areas)


def test_annotated_boxes_lose_a_pixel_as_in_hrnets_loader():
    boxes, people = truth_boxes(sample([[10, 20, 110, 220], [600, 400, 640, 480]]))
    np.testing.assert_array_equal(boxes, [[10, 20, 109, 219, 1], [600, 400, 639, 479, 1]])
    np.testing.assert_array_equal(people, [0, 1])


def test_people_without_area_box_or_keypoints_have_no_box():
    boxes, people = truth_boxes(sample([[10, 20, 11, 21], [0, 0, 9, 9], [5, 5, 50, 50]], areas=[9, 0, 9]))
    np.testing.assert_array_equal(people, [2])
    np.testing.assert_array_equal(boxes, [[5, 5, 49, 49, 1]])
    assert len(truth_boxes(sample([[5, 5, 50, 50]], visible=0))[0]) == 0
    assert truth_boxes(sample(np.zeros((0, 4))))[0].shape == (0, 5)


def test_boxes_of_mpii_stand_for_centres_and_are_not_cleaned():
    boxes, _ = truth_boxes(sample([[-30, 20, 170, 220]], skeleton=MPII16))
    np.testing.assert_array_equal(boxes, [[-30, 20, 170, 220, 1]])


def test_a_detectors_useless_boxes_are_passed_over():
    rows = [[0, 0, 9, 9, 0.5], [5, 5, 5, 9, 1], [700, 0, 800, 9, 1], [0, 0, np.nan, 9, 1]]
    np.testing.assert_array_equal(usable_boxes(np.array(rows), (640, 480)), [rows[0]])
    np.testing.assert_array_equal(usable_boxes(np.array(rows)[:, :4], (640, 480)), [[0, 0, 9, 9, 1]])
    assert usable_boxes(np.array([]), (640, 480)).shape == (0, 5)


# Files of detections ---------------------------------------------------------------------------------


def record(**changes) -> dict:
    return {"image_id": 7, "category_id": 1, "bbox": [10, 20, 100, 200], "score": 0.5, **changes}


def write_boxes(path: Path, content) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_file_of_detections_is_read_by_picture(tmp_path):
    rows = [record(), record(category_id=3), record(image_id="a", score=0.2), record(score=0.9), record(score=0.1)]
    boxes = read_box_file(write_boxes(tmp_path / "b.json", rows), min_score=0.15)
    assert set(boxes) == {7, "a"}
    np.testing.assert_allclose(boxes[7], [[10, 20, 110, 220, 0.5], [10, 20, 110, 220, 0.9]])
    np.testing.assert_allclose(boxes["a"][0, 4], 0.2)


def test_boxes_of_strange_pictures_and_without_extent_are_told_of_and_left_out(tmp_path):
    rows = [record(), record(image_id=8), record(image_id=9), record(bbox=[1, 1, 0, 5])]
    with pytest.warns(UserWarning) as said:
        boxes = read_box_file(write_boxes(tmp_path / "b.json", rows), known=[7, 1])
    messages = " ".join(str(one.message) for one in said)
    assert "1 boxes have no width" in messages
    assert "2 of the 3 pictures" in messages and "(8, 9)" in messages
    assert len(boxes[7]) == 1


BAD_FILES = {
    "no json": ("[", ["b.json is no JSON"]),
    "an object": ({"images": []}, ["JSON dict", "a list", "image_id"]),
    "no score": ([record(), {k: v for k, v in record().items() if k != "score"}], ["number 1", "'score'"]),
    "no image id": ([{k: v for k, v in record().items() if k != "image_id"}], ["number 0", "'image_id'"]),
    "a box of three": ([record(bbox=[1, 2, 3])], ["number 0", "bbox"]),
    "a box of letters": ([record(bbox=["a", 1, 1, 1])], ["number 0", "'a'"]),
    "a box that is no number": ([record(bbox=[float("nan"), 1, 1, 1])], ["number 0", "nan"]),
    "a record that is a number": ([3], ["number 0"]),
    "an id that is a list": ([record(image_id=[1])], ["number 0", "[1]"]),
    "strangers alone": ([record(image_id="7"), record(image_id="8")], ["2 pictures", "'7', '8'", "none", "such as 7"]),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_broken_file_of_detections_is_refused(tmp_path, case):
    content, words = BAD_FILES[case]
    with pytest.raises(AnnotationError) as caught:
        read_box_file(write_boxes(tmp_path / "b.json", content), known=[7])
    for word in ["b.json", *words]:
        assert word in str(caught.value)


def test_an_absent_file_of_detections_is_refused(tmp_path):
    with pytest.raises(AnnotationError, match=r"gone\.json cannot be read"):
        read_box_file(tmp_path / "gone.json")
