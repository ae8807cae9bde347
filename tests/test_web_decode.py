"""The page's decoder and picture code give what Python gives."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from dot_model import crop_spec, dot_spec
from litepose.codecs import Pass
from litepose.codecs.grouping import assign
from litepose.geometry import Warp, size_of
from litepose.predictor import Predictor, load, normalise
from litepose.spec import InputSpec
from litepose.web.site import Offered, finds_people, reads_crops
from litepose.weights import names, path_of
from web_node import run_module

DECODE = 'import { decode } from "{STATIC}/decode.js"; answer(decode(given.outputs, given.spec, given.size));'
INPUT = """
import { plan, planOfShrunk, shrink, shrunkSize, toTensor } from "{STATIC}/picture.js";
const [height, width] = given.image.dims;
let made = plan([width, height], given.spec, given.side, 32);
let pixels = { data: given.image.data, width, height };
const small = shrunkSize([width, height], made);
const sampled = small ? planOfShrunk(made, [width, height], small) : made;
if (small) pixels = shrink(pixels, small);
answer({ made, tensor: toTensor(pixels, sampled, given.spec) });
"""


def scene(rng, people, size, *, num_keypoints=17, spread=2.5, noise=0.02, deviation=0.1):
    """Return raw outputs (2K, h, w) and (K, 2h, 2w) of people with tags apart, noisy."""
    width, height = size
    places = rng.uniform(2, (width - 3, height - 3), (people, num_keypoints, 2))
    tags = spread * rng.permutation(people)[:, None] + rng.normal(0, deviation, (people, num_keypoints))
    heights = rng.uniform(0.3, 0.95, (people, num_keypoints)) * (rng.random((people, num_keypoints)) > 0.15)
    maps = []
    for scale in (1, 2):
        y, x = np.mgrid[: height * scale, : width * scale]
        square = ((np.stack([x, y]) - scale * places[..., None, None]) ** 2).sum(axis=2)  # (N, K, h, w)
        heat = (heights[..., None, None] * np.exp(-square / (2 * 1.7**2))).max(axis=0, initial=0)
        maps.append(heat + rng.normal(0, noise, heat.shape))
    y, x = np.mgrid[:height, :width]
    nearest = ((np.stack([x, y]) - places[..., None, None]) ** 2).sum(axis=2).argmin(axis=0)
    tag_maps = tags[nearest, np.arange(num_keypoints)[:, None, None]] + rng.normal(0, deviation, maps[0].shape)
    return np.concatenate([maps[0], tag_maps]).astype(np.float32), maps[1].astype(np.float32)


def in_python(outputs, spec, size):
    codec = spec.codec
    return codec.decode(codec.aggregate([Pass(tuple(outputs))], size, spec.skeleton), spec.skeleton).sorted()


@pytest.mark.parametrize("people", [1, 3, 8, 20, 35])
@pytest.mark.parametrize("settings", [
    {}, {"refine": False}, {"detection_threshold": 0.4, "tag_threshold": 0.6},
    {"max_people": 6, "ignore_too_much": True}, {"nms_threshold": 0.1}, {"refine": False, "nms_threshold": 0.1},
])  # fmt: skip
def test_the_page_decodes_as_the_mode_fast_does(people, settings):
    rng = np.random.default_rng(people)
    # Tags near each other, so that the assignment has work to do.
    outputs = scene(rng, people, (48, 40), spread=0.9 if people < 20 else 0.6, deviation=0.15)
    spec, size = dot_spec(mode="fast", **settings), (192, 160)
    expected = in_python(outputs, spec, size)
    found = run_module(
        DECODE, outputs=[one[None] for one in outputs], spec=json.loads(spec.to_json()), size=size
    )  # fmt: skip
    assert len(found) == len(expected) >= (1 if settings.get("nms_threshold") else min(people, 6))
    np.testing.assert_allclose([one["score"] for one in found], expected.scores, atol=1e-6)
    triples = np.array([one["keypoints"] for one in found])
    np.testing.assert_allclose(triples[..., 2], expected.keypoint_scores, atol=1e-6)
    seen = expected.found
    np.testing.assert_allclose(triples[..., :2][seen], expected.keypoints[seen], atol=1e-4)  # float32 against float64


def test_numbers_halfway_are_rounded_to_even_as_numpy_does():
    values = [0.5, 1.5, 2.5, -0.5, -1.5, 0.49999999999999994, 3.2, 1e10]
    code = 'import { rint } from "{STATIC}/grouping.js"; answer(given.values.map(rint));'
    assert run_module(code, values=values) == np.rint(values).tolist()


def test_a_peak_between_equal_neighbours_moves_as_in_python():
    outputs = (np.zeros((34, 16, 16), np.float32), np.zeros((17, 32, 32), np.float32))
    outputs[1][:, 8, 14] = 0.9
    spec = dot_spec(mode="fast")
    expected = in_python(outputs, spec, (64, 64))
    found = run_module(DECODE, outputs=[one[None] for one in outputs], spec=json.loads(spec.to_json()), size=(64, 64))
    assert len(expected) == 1
    np.testing.assert_array_equal(np.array(found[0]["keypoints"])[:, :2], expected.keypoints[0])


def test_nobody_is_found_where_there_is_no_heat():
    spec = dot_spec(mode="fast")
    outputs = [np.zeros((1, 34, 16, 16), np.float32), np.zeros((1, 17, 32, 32), np.float32)]
    assert run_module(DECODE, outputs=outputs, spec=json.loads(spec.to_json()), size=(64, 64)) == []


def test_the_page_assigns_as_python_does_ties_included():
    rng = np.random.default_rng(0)
    shapes = [tuple(sorted(rng.integers(1, 9, 2).tolist())) for _ in range(60)]
    costs = [100.0 * rng.integers(0, 4, shape) - (rng.random((shape[0], 1)) if i % 2 else 0)
             for i, shape in enumerate(shapes)]  # fmt: skip
    code = 'import { assign } from "{STATIC}/grouping.js"; answer(given.costs.map(assign));'
    assert run_module(code, costs=[one.tolist() for one in costs]) == [assign(one) for one in costs]


@pytest.mark.parametrize("size, side", [
    ((640, 480), 256), ((480, 640), 256), ((333, 500), 256), ((2000, 1500), 256), ((640, 480), 160), ((300, 801), 160),
    ((1001, 90), 256),
])  # fmt: skip
def test_the_page_makes_the_input_that_python_makes(size, side):
    width, height = size
    coarse = np.random.default_rng(0).integers(0, 255, (height // 20 + 2, width // 20 + 2, 3), dtype=np.uint8)
    image = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    spec = dot_spec(mode="fast")
    spec = type(spec)(**{**spec.__dict__, "input": InputSpec(size=(256, 256))})
    rgba = cv2.cvtColor(image, cv2.COLOR_BGR2RGBA)
    answer = run_module(INPUT, image=rgba, spec=json.loads(spec.to_json()), side=side)
    made = answer["made"]

    class Engine:
        size = None

    Engine.spec = spec
    predictor = Predictor(Engine(), size=None if side == 256 and max(size) < 8 * min(size) else tuple(made["size"]))
    view = predictor.views(size_of(image))[0]
    assert tuple(made["size"]) == view.warp.size
    expected = Warp(np.array([[made["zoom"], 0, made["dx"]], [0, made["zoom"], made["dy"]]]), view.warp.size)
    np.testing.assert_allclose(expected.matrix, view.warp.matrix, atol=1e-6)
    tensor = np.array(answer["tensor"], dtype=np.float32).reshape(3, *view.warp.size[::-1])
    difference = np.abs(tensor - predictor.prepare(image, view)) * 0.226 * 255  # in levels of 255
    assert difference.max() < 1.1  # a level, where the order of sums decides how a half is rounded
    assert np.mean(difference > 0.1) < 0.002


def test_the_page_takes_models_that_it_decodes_and_no_others():
    path = Path("a.onnx")
    spec = dot_spec()
    assert finds_people(Offered(path, spec)) and not reads_crops(Offered(path, spec))
    assert not finds_people(Offered(path, crop_spec()))
    assert not finds_people(Offered(path, dot_spec(grouping="limbs")))
    assert not finds_people(Offered(path, spec, size=(256, 256)))
    assert not finds_people(Offered(path.with_suffix(".safetensors"), spec))
    pixels = dataclasses.replace(spec.input, pixels=True)
    assert not finds_people(Offered(path, dataclasses.replace(spec, input=pixels)))
    assert reads_crops(Offered(path, crop_spec())) and reads_crops(Offered(path, crop_spec(), size=(192, 256)))
    assert not reads_crops(Offered(path, crop_spec(), size=(96, 128)))
    for other in (crop_spec(refinement="dark"), crop_spec(nms="soft"), crop_spec(resize="box_udp", refinement="udp")):
        assert not reads_crops(Offered(path, other))
    for name in names():
        offered = Offered(path_of(name), load(name, threads=1).spec, load(name, threads=1).runtime.size)
        assert finds_people(offered) != reads_crops(offered), name  # everything that ships is one of both


def test_pixels_are_normalised_as_in_python():
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)[..., None].repeat(3, axis=2)
    spec = InputSpec(size=(32, 32), resize="letterbox")
    big = cv2.resize(image, (32, 32), interpolation=cv2.INTER_NEAREST)
    answer = run_module(
        INPUT, image=cv2.cvtColor(big, cv2.COLOR_BGR2RGBA), side=32,
        spec={"input": {**spec.__dict__, "stride": 16}},
    )  # fmt: skip
    np.testing.assert_allclose(answer["tensor"], normalise(big, spec).ravel(), atol=1e-6)
