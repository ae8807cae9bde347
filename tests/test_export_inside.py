"""Files that take pixels or find peaks by themselves show the same people as those that do not."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import onnx
import pytest
import torch

from litepose import checkpoints
from litepose.codecs.ae import AECodec
from litepose.codecs.ae_peaks import AEPeaks
from litepose.codecs.base import Pass
from litepose.converters import PHOTO
from litepose.errors import ModelError, SettingError
from litepose.export import example_input, export_model
from litepose.export_inside import PeaksOut, peak_differences
from litepose.predictor import Predictor, load
from litepose.runtimes import is_installed, open_runtime
from litepose.skeleton import COCO17
from tiny_model import tiny_network


@pytest.fixture(scope="module")
def network():
    """A tiny network whose maps show "people", and its spec."""
    network, spec = tiny_network()
    with torch.no_grad():
        for head in network.heads:
            head.refined.pointwise.weight[:17] *= 20
    return network, spec


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    """The files of one network by what is inside: (pixels, peaks) -> path; any size."""
    folder = tmp_path_factory.mktemp("inside")
    return {
        (pixels, peaks): export_model(
            *network, folder / f"{pixels}{peaks}.onnx", dynamic=True, pixels=pixels, peaks=peaks
        ).path
        for pixels in (False, True)
        for peaks in (False, True)
    }


def outside_decoder(path) -> Predictor:
    """Return the predictor of plain maps that decodes as a file with peaks inside."""
    predictor = load(path, threads=1, decode="fast")
    predictor.codec = dataclasses.replace(predictor.codec, refine=False)
    return predictor


def assert_same_people(found, wanted) -> None:
    assert len(found) == len(wanted) > 1
    np.testing.assert_array_equal(found.found, wanted.found)
    np.testing.assert_allclose(found.keypoints, wanted.keypoints, atol=1e-3)  # px: the same cells
    np.testing.assert_allclose(found.keypoint_scores, wanted.keypoint_scores, atol=1e-4)  # float32, another order
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-4)


@pytest.mark.parametrize("size", [None, (64, 64), (96, 64)])
@pytest.mark.parametrize("inside", [(True, False), (False, True), (True, True)])
def test_the_people_are_the_same(files, inside, size):
    pictures = [PHOTO, np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)]
    for picture in pictures:
        predictor = load(files[inside], threads=1, size=size)
        plain = outside_decoder(files[False, False]) if inside[1] else load(files[False, False], threads=1)
        plain.size = size
        assert_same_people(predictor(picture), plain(picture))


def test_pixels_stay_bytes_until_they_are_in_the_graph(files):
    runtime = open_runtime(files[True, False], threads=1)
    assert runtime.spec.input.pixels
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 200  # blue
    tensor = Predictor(runtime).prepare(image, Predictor(runtime).views((64, 64))[0])
    assert tensor.dtype == np.uint8 and tensor[2].min() == 200 and tensor[:2].max() == 0  # RGB
    (graph_input,) = onnx.load(str(files[True, False])).graph.input
    assert graph_input.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_only_peaks_leave_the_engine(files):
    runtime = open_runtime(files[False, True], threads=1)
    (peaks,) = runtime(example_input(runtime.spec.input, (96, 64))[:, :, :64])
    assert peaks.shape == (1, 17, 30, 4)
    assert (np.diff(peaks[0, :, :, 0], axis=1) <= 0).all()  # highest first
    assert runtime.spec.codec.peaks == 30 and runtime.spec.codec.mode == "fast" and not runtime.spec.codec.refine


@pytest.mark.parametrize("tag_outputs", [(True, False), (True, True)])
@pytest.mark.parametrize("per_keypoint", [True, False])
def test_peaks_are_those_of_the_codec(tag_outputs, per_keypoint):
    codec = AECodec(tag_outputs=tag_outputs, tag_per_keypoint=per_keypoint, mode="fast", refine=False, max_people=5)
    rng = np.random.default_rng(0)
    channels = codec.channels(COCO17)
    maps = [
        rng.normal(size=(1, count, side, side + 4)).astype(np.float32)
        for count, side in zip(channels, (12, 24), strict=True)
    ]
    maps[1] = rng.normal(size=(1, channels[1], 24, 32)).astype(np.float32)

    class Fixed(torch.nn.Module):
        def forward(self, images):
            return tuple(torch.from_numpy(one) for one in maps)

    inside = dataclasses.replace(codec, peaks=5)
    with torch.no_grad():
        rows = PeaksOut(Fixed(), inside, 17)(torch.zeros(1, 3, 48, 64))[0][0].numpy()
    found = inside.decode(inside.aggregate([Pass((rows,))], (64, 48), COCO17), COCO17)
    wanted = codec.decode(codec.aggregate([Pass(tuple(one[0] for one in maps))], (64, 48), COCO17), COCO17)
    assert_same_people(found, wanted)


def test_what_peaks_exclude_is_one_error(files):
    picture = cv2.imread(str(PHOTO))
    with pytest.raises(SettingError, match="without --peaks"):
        load(files[False, True], decode="exact")
    with pytest.raises(SettingError, match="--flip"):
        load(files[False, True], flip=True)(picture)
    with pytest.raises(SettingError, match="--scales"):
        load(files[False, True], scales=(1, 2))(picture)
    with pytest.raises(SettingError, match="no heatmaps to show"):
        load(files[False, True]).layers(picture)


def test_peaks_that_are_no_numbers_are_an_error():
    rows = np.ones((17, 5, 4), np.float32)
    rows[3, 2, 3] = np.nan
    with pytest.raises(ModelError, match="tags"):
        AEPeaks(rows).candidates(0.1)
    rows[3, 2, 0] = np.inf
    with pytest.raises(ModelError, match="heatmaps"):
        AEPeaks(rows).candidates(0.1)


def test_info_counts_the_network_of_such_a_file(files):
    from litepose.commands.info import describe

    plain, inside = (describe(str(files[key])) for key in ((False, False), (True, True)))
    assert plain.counts is not None and inside.counts is not None and inside.counts.macs == plain.counts.macs > 0


def test_peaks_of_a_codec_without_tags_are_refused(tmp_path):
    spec = checkpoints.default_spec("lpn_50", COCO17)
    with pytest.raises(SettingError, match="codec is 'heatmap'"):
        export_model(checkpoints.build_network(spec).eval(), spec, tmp_path / "lpn.onnx", size=(64, 64), peaks=True)


def test_such_a_file_is_not_trained_on_and_not_for_small_engines(network, tmp_path):
    with pytest.raises(SettingError, match="cannot be trained on"):
        export_model(*network, tmp_path / "tiny.onnx", pixels=True, trainable=True)
    for suffix in (".param", ".tflite"):
        with pytest.raises(SettingError, match="the network alone"):
            export_model(*network, tmp_path / f"tiny{suffix}", pixels=True)


@pytest.mark.skipif(not is_installed("openvino"), reason="the engine openvino is not installed")
def test_openvino_takes_pixels_and_finds_peaks(network, files, tmp_path):
    path = export_model(*network, tmp_path / "tiny.xml", dynamic=True, pixels=True, peaks=True).path
    assert_same_people(load(path, threads=1)(PHOTO), outside_decoder(files[False, False])(PHOTO))


def test_peaks_that_changed_places_are_no_difference_and_moved_ones_are():
    expected = np.zeros((1, 1, 3, 4), np.float32)
    expected[0, 0] = [[0.9, 5, 5, 1], [0.5, 1, 2, 3], [0.4999, 7, 8, 9]]
    near_tie = expected[:, :, [0, 2, 1]]
    assert peak_differences(expected, near_tie).max() < 2e-4
    moved = expected.copy()
    moved[0, 0, 0, 1] = 6
    assert peak_differences(expected, moved).max() == pytest.approx(0.9)
