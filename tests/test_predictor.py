"""From picture to people, with a hand-made network whose answer is known (tests/dot_model.py)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from dot_model import by_position, dot_spec, encode, lay_out, paint, write_crop_model, write_dot_model
from litepose import predictor
from litepose.errors import InputSizeError, ModelError, PictureError, SettingError
from litepose.geometry import Warp
from litepose.predictor import View, load, normalise
from litepose.spec import InputSpec

SIZE = (640, 480)
# Half a cell of the finer map (2 input px) plus the decoder's quarter cell, in picture px: 480 / 256 * 1.5.
CELL_PX = 3.0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_dot_model(tmp_path_factory.mktemp("dots") / "dots.onnx")


@pytest.fixture(scope="module")
def people():
    return lay_out(3, SIZE)


def assert_found(poses, people, *, within=CELL_PX):
    assert len(poses) == len(people)
    found = by_position(poses)
    assert (found.keypoint_scores > 0.1).all()
    np.testing.assert_allclose(found.keypoints, people, atol=within)


@pytest.mark.parametrize("decode", ["exact", "fast"])
@pytest.mark.parametrize("flip", [False, True])
def test_people_come_back_at_their_pixels(model, people, decode, flip):
    # The dots know nothing of left and right: a mirrored picture shows mirrored places of the same keypoints, while
    # the flip test expects the sides to have changed names. So with flip only the middle keypoint (nose) is compared.
    poses = load(model, threads=1, decode=decode, flip=flip)(paint(people, SIZE))
    if not flip:
        assert_found(poses, people)
    noses = poses.keypoints[:, 0]
    for person in people:
        assert np.linalg.norm(noses - person[0], axis=1).min() < CELL_PX


@pytest.mark.parametrize("scales", [(0.5, 1.0), (1.0, 2.0), (2.0,), (0.5, 1, 1.5)])
def test_several_scales_agree_on_the_same_pixels(model, people, scales):
    poses = load(model, threads=1, scales=scales)(paint(people, SIZE))
    assert_found(poses, people, within=2 * CELL_PX)  # the half-size pass has cells twice as large


@pytest.mark.parametrize("resize", ["short_side", "letterbox", "stretch"])
def test_every_resize_rule_leads_back_to_picture_pixels(resize, people, tmp_path):
    path = write_dot_model(tmp_path / "dots.onnx", spec=dot_spec(size=(384, 320), resize=resize))
    assert_found(load(path, threads=1)(paint(people, SIZE)), people)


def test_a_given_size_letterboxes(model, people):
    predict = load(model, threads=1, size=(320, 320))
    assert [view.warp.size for view in predict.views(SIZE)] == [(320, 320)]
    assert_found(predict(paint(people, SIZE)), people, within=640 / 320 * 1.5)


def test_a_file_exported_for_one_size_takes_pictures_of_any_size(people, tmp_path):
    path = write_dot_model(tmp_path / "fixed.onnx", batch=1, size=(320, 256))
    predict = load(path, threads=1)
    assert predict.frame(SIZE).size == (320, 256)
    both = predict.batch([paint(people, SIZE), paint(people[:1], SIZE)])
    assert_found(both[0], people)
    assert_found(both[1], people[:1])


def test_a_batch_of_mixed_sizes_gives_what_single_pictures_give(model, people):
    predict = load(model, threads=1)
    tall = np.ascontiguousarray(paint(people, SIZE).transpose(1, 0, 2))
    pictures = [paint(people, SIZE), tall, paint(people[:2], SIZE), np.zeros((33, 50, 3), np.uint8)]
    for together, alone in zip(predict.batch(pictures), map(predict, pictures), strict=True):
        np.testing.assert_array_equal(together.keypoints, alone.keypoints)
        np.testing.assert_array_equal(together.scores, alone.scores)


def test_one_predictor_serves_many_threads(model, people):
    predict = load(model, threads=1)
    pictures = [paint(people[: n % 4], SIZE) for n in range(12)]
    alone = [predict(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(predict, pictures))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_paths_and_bytes_are_read(model, people, tmp_path):
    predict, picture = load(model, threads=1), paint(people, SIZE)
    (tmp_path / "dots.png").write_bytes(encode(picture))
    for source in (tmp_path / "dots.png", str(tmp_path / "dots.png"), encode(picture)):
        np.testing.assert_array_equal(predict(source).keypoints, predict(picture).keypoints)


def test_people_come_best_first_with_boxes(model, people):
    picture = paint(people, SIZE)
    picture[: SIZE[1] // 8, :, 0] //= 2  # the first rows, where the first person lies, are fainter
    poses = load(model, threads=1)(picture)
    assert (np.diff(poses.scores) <= 0).all() and poses.scores[0] > poses.scores[-1]
    np.testing.assert_allclose(poses.boxes, poses.keypoint_boxes)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (2, 3), (16, 16), (5000, 40)])
def test_odd_pictures_go_through_without_people_and_without_much_memory(model, size):
    predict = load(model, threads=1)
    assert len(predict(np.zeros((size[1], size[0], 3), np.uint8))) == 0
    width, height = predict.frame(size).size
    assert width * height <= 256 * 256 * predictor.MAX_ASPECT


def test_a_large_photo_is_averaged_down_and_still_exact(model):
    people = lay_out(2, (2560, 1920), radius=48)
    picture = paint(people, (2560, 1920), radius=48)
    assert load(model, threads=1).frame((2560, 1920)).zoom < predictor.MIN_BILINEAR_ZOOM
    assert_found(load(model, threads=1)(picture), people, within=1920 / 256 * 1.5)


def test_averaging_keeps_a_line_that_bilinear_sampling_drops(model):
    picture = np.zeros((2560, 2560, 3), np.uint8)
    picture[:, 1283:1285] = 255  # 2 px wide; the samples of a 10-fold reduction lie 10 px apart
    view = View(Warp.higherhrnet((2560, 2560), 256))
    assert view.warp.image(picture)[128, :, 0].sum() == 0
    assert abs(load(model, threads=1).prepare(picture, view)[0, 128].sum() * 255 - 51) <= 2  # 2 of 10 px of 255


def test_prepare_is_the_plain_warp_for_pictures_of_coco_size(model):
    picture = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    predict = load(model, threads=1)
    (view,) = predict.views(SIZE)
    wanted = view.warp.image(picture)[..., ::-1].transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(predict.prepare(picture, view), wanted)
    mirrored = predict.prepare(picture, View(view.warp, mirrored=True))
    np.testing.assert_array_equal(mirrored, wanted[..., ::-1])


@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_normalise_is_the_formula_bit_for_bit(colour):
    image = np.random.default_rng(1).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    spec = InputSpec(size=(64, 64), colour=colour)
    pixels = image[..., ::-1] if colour == "RGB" else image
    mean, std = np.float32(spec.mean), np.float32(spec.std)
    wanted = ((pixels.astype(np.float32) / 255 - mean) / std).transpose(2, 0, 1)
    np.testing.assert_array_equal(normalise(image, spec), wanted)


def test_maps_show_heat_where_the_people_are(model, people):
    predict = load(model, threads=1)
    maps = predict.maps(paint(people, SIZE))
    assert maps.heatmaps.shape[0] == predict.skeleton.num_keypoints
    height, width = maps.heatmaps.shape[1:]
    place = predict.frame(SIZE).points(people[0, 0]) * (width / predict.frame(SIZE).size[0])
    x, y = np.round(place).astype(int)
    assert maps.heatmaps[0, y - 2 : y + 3, x - 2 : x + 3].max() > 0.4
    assert height * 3 == width * 2  # 384x256


@pytest.mark.parametrize(
    ("picture", "word"),
    [
        (np.zeros((4, 4), np.uint8), "of (4, 4)"),
        (np.zeros((4, 4, 4), np.uint8), "uint8 of (4, 4, 4)"),
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (None, "NoneType"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(model, picture, word):
    with pytest.raises(PictureError) as caught:
        load(model, threads=1)(picture)
    assert word in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "error", "word"),
    [
        ({"size": (100, 100)}, InputSizeError, "112x112"),
        ({"scales": ()}, SettingError, "Scales"),
        ({"scales": (0,)}, SettingError, "Scales"),
        ({"decode": "exat"}, SettingError, "exact"),
        ({"device": "tpu"}, SettingError, "tpu"),
        ({"runtime": "onx"}, SettingError, "onnx"),
        ({"runtime": "torch"}, ModelError, ".safetensors"),
    ],
)
def test_an_impossible_setting_is_refused_at_once(model, settings, error, word):
    with pytest.raises(error, match=word):
        load(model, threads=1, **settings)


def test_a_scale_that_leaves_the_stride_is_refused(model):
    with pytest.raises(InputSizeError, match=r"scale 1\.1"):
        load(model, threads=1, scales=(0.5, 1.1))(np.zeros((480, 640, 3), np.uint8))


def test_an_unknown_model_name_is_met_with_the_shipped_ones():
    with pytest.raises(ModelError, match="neither shipped nor a file"):
        load("litepose_xss")


def test_greater_pictures_are_resized_as_cv2_would(model):
    # Guards the pre-shrink against a shift: a ramp must stay where a plain area resize puts it.
    ramp = np.repeat(np.linspace(0, 255, 2048).astype(np.uint8)[None, :, None], 2048, axis=0).repeat(3, axis=2)
    view = View(Warp.resize((2048, 2048), (256, 256)))
    found = load(model, threads=1).prepare(ramp, view)[0] * 255
    wanted = cv2.resize(ramp, (256, 256), interpolation=cv2.INTER_AREA)[..., 0]
    assert np.abs(found - wanted)[:, 2:-2].max() <= 1  # rounding; the outermost px blend with the black border


def test_pictures_and_boxes_of_different_numbers_are_refused(tmp_path):
    predictor = load(write_crop_model(tmp_path / "crops.onnx"), threads=1)
    picture, box = np.zeros((64, 64, 3), np.uint8), np.array([[0, 0, 64, 64]])
    for pictures, boxes, wanted in (
        ([picture] * 2, [box], "another picture"),
        ([picture], [box] * 2, "array of boxes"),
    ):
        with pytest.raises(SettingError, match=wanted):
            list(predictor.predict_many(pictures, boxes))


def test_many_pictures_give_the_same_people_in_the_same_order_as_one_by_one(model, people, tmp_path):
    predictor = load(model, threads=1)
    pictures = [paint(people[:count], SIZE)[: 480 - 32 * count] for count in (2, 0, 1, 3)]
    pictures.insert(2, tmp_path / "absent.png")
    answers = list(predictor.predict_many(iter(pictures), in_flight=3))
    assert isinstance(answers[2], PictureError) and "absent.png" in str(answers[2])
    for picture, answer in zip(pictures, answers, strict=True):
        if isinstance(picture, np.ndarray):
            wanted = predictor(picture)
            np.testing.assert_array_equal(answer.keypoints, wanted.keypoints)
            np.testing.assert_array_equal(answer.scores, wanted.scores)
    assert [len(answer) for answer in answers[:2]] == [2, 0]
