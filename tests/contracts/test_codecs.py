"""What every codec in `CODECS` promises. A new codec adds one entry to `IDEAL_OUTPUTS` and one to `CROWD`."""

import dataclasses
import json

import numpy as np
import pytest

from litepose.codecs import CODECS, Found, Pass, codec_from_json, codec_to_json
from litepose.errors import LiteposeError, ModelError, SettingError
from litepose.geometry import boxes_of_keypoints
from litepose.poses import Poses, Sample
from litepose.skeleton import COCO17, CROWDPOSE14

SIZE = (256, 192)
MODES = ("exact", "fast")
CASES = [(name, mode) for name in CODECS for mode in MODES]


def ideal_ae_outputs(codec, targets, skeleton):
    """Heatmaps as targeted; each person's tag, its number, at every cell from which it is read."""
    outputs = []
    for heatmaps, with_tags in zip(targets.heatmaps, codec.tag_outputs, strict=True):
        tags = np.zeros((len(heatmaps) * with_tags, *heatmaps.shape[1:]), np.float32)
        if with_tags:
            height, width = tags.shape[1:]
            for person, indices in enumerate(targets.tag_indices):
                for index in indices[indices[:, 1] > 0, 0]:
                    keypoint, cell = divmod(int(index), width * height)
                    y, x = divmod(cell, width)
                    tags[keypoint, max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = 3 * (person + 1)
        outputs.append(np.concatenate([heatmaps, tags]))
    return tuple(outputs)


def ideal_heatmap_outputs(codec, targets, skeleton):
    return (targets.heatmaps,)


def ideal_paf_outputs(codec, targets, skeleton):
    return (targets.heatmaps, targets.pafs)


IDEAL_OUTPUTS = {"ae": ideal_ae_outputs, "heatmap": ideal_heatmap_outputs, "paf": ideal_paf_outputs}
CROWD = {"ae": 3, "heatmap": 1, "paf": 3}  # people that one frame may hold: a crop is looked at for one
LONE = [case for case in CASES if case[0] != "paf"]  # a person of part affinity fields begins with a limb
# Fields are drawn at the corners of cells, so those of a mirrored picture lie nearly a cell beside its mirror.
MIRRORED_SCORES = {"paf": 0.05}  # relative


def sample_of(keypoints, skeleton):
    keypoints = np.asarray(keypoints, np.float32)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    boxes = boxes_of_keypoints(keypoints[..., :2], keypoints[..., 2] > 0)
    return Sample(skeleton, image, keypoints, boxes, np.full(len(keypoints), 900.0, np.float32))


def people_apart(skeleton, count, rng):
    """`count` people whose keypoints of one kind lie in different columns of the picture."""
    column = SIZE[0] / count
    keypoints = np.full((count, skeleton.num_keypoints, 3), 2.0)
    keypoints[..., 0] = rng.uniform(20, column - 20, keypoints.shape[:2]) + column * np.arange(count)[:, None]
    keypoints[..., 1] = rng.uniform(12, SIZE[1] - 12, keypoints.shape[:2])
    return keypoints


def mirrored(keypoints, skeleton):
    """The keypoints of the mirrored picture."""
    turned = keypoints.copy()
    turned[..., 0] = SIZE[0] - 1 - turned[..., 0]
    return turned[:, skeleton.mirror_indices]


def found_in(codec, outputs, skeleton):
    return codec.decode(codec.aggregate([Pass(outputs)], SIZE, skeleton), skeleton)


def blank_outputs(codec, skeleton, value=0.0):
    return tuple(
        np.full((channels, SIZE[1] // stride, SIZE[0] // stride), value, np.float32)
        for channels, stride in zip(codec.channels(skeleton), codec.strides(), strict=True)
    )


@pytest.mark.parametrize("name", CODECS)
def test_settings_survive_json(name):
    codec = CODECS[name](mode="fast")
    assert codec_from_json(json.loads(json.dumps(codec_to_json(codec)))) == codec


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14], ids=lambda skeleton: skeleton.name)
def test_every_channel_has_a_name_of_its_own(name, skeleton):
    codec = CODECS[name]()
    names = codec.channel_names(skeleton)
    assert tuple(map(len, names)) == codec.channels(skeleton)
    assert all(len(set(output)) == len(output) for output in names)
    for keypoint in skeleton.keypoints:
        assert f"heatmap of {keypoint}" in names[0]


@pytest.mark.parametrize("name", CODECS)
def test_an_unknown_mode_is_named(name):
    with pytest.raises(SettingError, match=r"exakt.*exact"):
        CODECS[name](mode="exakt")


@pytest.mark.parametrize(("name", "mode"), CASES)
@pytest.mark.parametrize("skeleton", [COCO17, CROWDPOSE14], ids=lambda skeleton: skeleton.name)
def test_encoded_people_are_decoded_again(name, mode, skeleton):
    codec = CODECS[name](mode=mode)
    wanted = people_apart(skeleton, CROWD[name], np.random.default_rng(4))
    outputs = IDEAL_OUTPUTS[name](codec, codec.encode(sample_of(wanted, skeleton), SIZE), skeleton)
    assert tuple(len(output) for output in outputs) == codec.channels(skeleton)
    poses = found_in(codec, outputs, skeleton)
    assert len(poses) == CROWD[name]
    assert poses.found.all()
    left_to_right = np.argsort(poses.keypoints[..., 0].mean(axis=1))
    distance = np.linalg.norm(poses.keypoints[left_to_right] - wanted[..., :2], axis=-1)
    # Truncation to cells of two strides, averaged, moves a peak by up to a coarse cell per axis.
    assert distance.max() < 1.5 * max(codec.strides())
    assert distance.mean() < max(codec.strides()) / 2


@pytest.mark.parametrize(("name", "mode"), LONE)
@pytest.mark.parametrize("place", [(3, 3), (130, 77), (254, 190), (200, 100)])
def test_one_lit_keypoint_lands_where_it_was(name, mode, place):
    codec = CODECS[name](mode=mode)
    keypoints = np.zeros((1, COCO17.num_keypoints, 3))
    keypoints[0, 9] = (*place, 2)
    outputs = IDEAL_OUTPUTS[name](codec, codec.encode(sample_of(keypoints, COCO17), SIZE), COCO17)
    poses = found_in(codec, outputs, COCO17)
    assert len(poses) == 1
    np.testing.assert_array_equal(np.flatnonzero(poses.found[0]), [9])
    np.testing.assert_allclose(poses.keypoints[0, 9], place, atol=max(codec.strides()))


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_empty_maps_hold_nobody(name, mode):
    codec = CODECS[name](mode=mode)
    assert len(found_in(codec, blank_outputs(codec, COCO17), COCO17)) == 0


@pytest.mark.parametrize(("name", "mode"), CASES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_maps_that_are_not_finite_are_an_error_that_says_so(name, mode, value):
    codec = CODECS[name](mode=mode)
    with pytest.raises(ModelError, match="NaN or infinite"):
        found_in(codec, blank_outputs(codec, COCO17, value), COCO17)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_maps_of_another_skeleton_are_an_error(name, mode):
    codec = CODECS[name](mode=mode)
    with pytest.raises(ModelError, match="channels"):
        found_in(codec, blank_outputs(codec, CROWDPOSE14), COCO17)


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_frame_in_which_somebody_is_found_is_joined_with_one_that_holds_nobody(name, mode):
    codec = CODECS[name](mode=mode)
    wanted = people_apart(COCO17, CROWD[name], np.random.default_rng(6))
    outputs = IDEAL_OUTPUTS[name](codec, codec.encode(sample_of(wanted, COCO17), SIZE), COCO17)
    poses = found_in(codec, outputs, COCO17)
    frames = [Found(Poses.empty(COCO17), 900.0), Found(poses, float(SIZE[0] * SIZE[1]))]
    joined = codec.join(frames, COCO17)
    order, wanted_order = np.argsort(joined.scores), np.argsort(poses.scores)
    np.testing.assert_array_equal(joined.keypoints[order], poses.keypoints[wanted_order])
    np.testing.assert_array_equal(joined.scores[order], poses.scores[wanted_order])


@pytest.mark.parametrize("name", CODECS)
def test_no_frames_hold_nobody(name):
    assert len(CODECS[name]().join([], COCO17)) == 0


@pytest.mark.parametrize("name", CODECS)
def test_a_size_that_is_no_multiple_of_the_stride_is_an_error(name):
    keypoints = np.zeros((0, COCO17.num_keypoints, 3))
    with pytest.raises(LiteposeError, match="multiple"):
        CODECS[name]().encode(sample_of(keypoints, COCO17), (255, 192))


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_a_mirrored_pass_of_the_mirrored_picture_changes_nobody(name, mode):
    codec = CODECS[name](mode=mode)
    # At whole pixels: where a keypoint falls between them, it may round to another cell in the mirror.
    wanted = people_apart(COCO17, min(CROWD[name], 2), np.random.default_rng(5)).round()
    outputs, turned = (
        IDEAL_OUTPUTS[name](codec, codec.encode(sample_of(one, COCO17), SIZE), COCO17)
        for one in (wanted, mirrored(wanted, COCO17))
    )
    passes = [Pass(outputs), Pass(turned, mirrored=True)]
    plain = found_in(codec, outputs, COCO17)
    both = codec.decode(codec.aggregate(passes, SIZE, COCO17), COCO17)
    both, plain = (poses[np.argsort(poses.keypoints[..., 0].mean(axis=1))] for poses in (both, plain))
    np.testing.assert_allclose(both.keypoints, plain.keypoints, atol=1e-4)
    np.testing.assert_allclose(both.scores, plain.scores, atol=1e-6, rtol=MIRRORED_SCORES.get(name, 0))


def test_codecs_are_frozen_dataclasses_that_know_their_name():
    for name, codec in CODECS.items():
        assert codec.name == name
        assert dataclasses.is_dataclass(codec) and codec.__dataclass_params__.frozen


@pytest.mark.parametrize(("name", "mode"), CASES)
def test_layers_show_each_keypoint_where_the_target_has_it(name, mode):
    codec, rng = CODECS[name](mode=mode), np.random.default_rng(6)
    keypoints = people_apart(COCO17, 1, rng)
    sample = sample_of(keypoints, COCO17)
    outputs = IDEAL_OUTPUTS[name](codec, codec.encode(sample, SIZE), COCO17)
    layers = codec.layers(codec.aggregate([Pass(outputs)], SIZE, COCO17), COCO17)
    count, height, width = layers.heatmaps.shape
    assert count == COCO17.num_keypoints
    assert layers.tags is None or layers.tags.shape == layers.heatmaps.shape
    assert 0.5 < layers.heatmaps.max() < 1.5
    hottest = layers.heatmaps.reshape(count, -1).argmax(axis=1)
    places = np.stack([hottest % width, hottest // width], axis=-1) * np.array(SIZE) / [width, height]
    assert np.abs(places - keypoints[0, :, :2]).max() <= 8  # a cell of the coarsest map
