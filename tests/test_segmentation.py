"""Segmentation with Lite-HRNet: the head, its loss, its metric. The example is run by test_examples."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from litepose import models
from litepose.counting import count
from litepose.errors import AnnotationError, InputSizeError, SettingError
from litepose.losses import segmentation_loss
from litepose.metrics.miou import confusion, mean_iou
from litepose.models.layers import fuse_batchnorm
from litepose.models.segmentation import Segmenter

DOUBLE = 1e-9  # float64 through some hundred layers


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def segmenter(name: str = "litehrnet_naive_18", **settings) -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(models.build(name, num_keypoints=17).trunk, **{"num_classes": 3, **settings})


def test_each_pixel_gets_a_logit_for_each_class():
    with torch.device("meta"):
        network = segmenter(num_classes=19)
        assert network(torch.empty(2, 3, 64, 96)).shape == (2, 19, 64, 96)


def test_logits_are_those_of_the_finest_map_four_times_as_wide():
    network = segmenter(separable=False).double().eval()
    nn.init.normal_(network.classify.weight)
    images = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        coarse = network.classify(network.trunk(images)[0][0])
        fine = network(images)
    # Cell (3, 5) covers the pixels 12..15 x 20..23, its centre is (13.5, 21.5): pixel (14, 23) lies 1/8 towards row 4
    # and 3/8 towards column 6.
    row3, row4 = ((coarse[:, :, y, 5] * 5 + coarse[:, :, y, 6] * 3) / 8 for y in (3, 4))
    torch.testing.assert_close(fine[:, :, 14, 23], (row3 * 7 + row4) / 8)


def test_without_the_separable_convolution_it_costs_what_the_authors_tool_says_of_trunk_and_classifier():
    with torch.device("meta"):
        lite_18, lite_30 = (segmenter(f"litehrnet_{n}", num_classes=19, separable=False) for n in (18, 30))
    for network, params, giga in ((lite_18, 1.131e6, 2.139), (lite_30, 1.764e6, 3.325)):
        counts = count(network, (1024, 512), rule="torchstat")
        assert counts.params == pytest.approx(params, abs=500)
        assert counts.macs_reference / 2**30 == pytest.approx(giga, abs=0.0005)


def test_the_trunk_of_a_pose_network_is_taken_as_it_is():
    pose = models.build("litehrnet_naive_18", num_keypoints=17)
    before = {name: tensor.clone() for name, tensor in pose.trunk.state_dict().items()}
    network = Segmenter(pose.trunk, num_classes=2)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.trunk.state_dict().items())


def test_folding_changes_no_logit():
    network = segmenter().double().train()
    nn.init.normal_(network.classify.weight)
    network(torch.randn(4, 3, 64, 64, dtype=torch.float64))
    fused = fuse_batchnorm(network)
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        wanted = network.eval()(images)
        assert float((fused(images) - wanted).abs().max()) <= DOUBLE * float(wanted.abs().max())


def test_a_gradient_reaches_every_parameter():
    network = segmenter()
    labels = torch.randint(0, 3, (2, 64, 128))
    segmentation_loss(network(torch.randn(2, 3, 64, 128)), labels).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_impossible_inputs_and_classes_are_refused():
    with pytest.raises(SettingError, match="at least 2 classes"):
        segmenter(num_classes=1)
    with pytest.raises(InputSizeError, match="multiples of 32"):
        segmenter()(torch.zeros(1, 3, 64, 80))


def test_the_loss_is_the_mean_surprise_at_the_counted_pixels():
    logits = torch.tensor([2.0, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    labels = torch.tensor([[[0, 1, 255]]])
    wanted = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    assert float(segmentation_loss(logits, labels)) == pytest.approx(wanted, rel=1e-6)  # float32
    assert float(segmentation_loss(logits[..., :2], labels[..., :2])) == pytest.approx(wanted, rel=1e-6)


def test_the_loss_without_counted_pixels_is_zero_and_has_a_gradient_of_zero():
    logits = torch.randn(1, 2, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((1, 4, 4), 255))
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_the_confusion_matrix_has_true_classes_in_rows():
    truth = np.array([[0, 0, 1], [1, 2, 255]])
    found = np.array([[0, 1, 1], [1, 0, 2]])
    assert confusion(truth, found, 3).tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 0]]


def test_mean_iou_is_over_the_classes_that_occur():
    stats = mean_iou(np.array([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [4, 0, 0, 0]]))
    assert stats.per_class == pytest.approx((6 / 13, 3 / 6, -1, 0))
    assert stats.mean == pytest.approx((6 / 13 + 3 / 6 + 0) / 3)
    assert stats.accuracy == pytest.approx(9 / 16)
    assert stats.to_json()["stats"] == {"mIoU": stats.mean, "accuracy": stats.accuracy}


def test_matrices_of_pictures_add_up():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 4, (2, 3, 20, 30))
    together = confusion(truth, found, 4)
    assert np.array_equal(together, sum(confusion(a, b, 4) for a, b in zip(truth, found, strict=True)))
    assert mean_iou(together).num_pixels == truth.size


def test_nothing_to_count_gives_minus_one():
    assert mean_iou(confusion(np.full((2, 2), 255), np.zeros((2, 2), int), 2)).mean == -1


@pytest.mark.parametrize(
    ("truth", "found", "words"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), "bring both to one size"),
        (np.full((2, 2), 2), np.zeros((2, 2), int), "The truth holds classes 2 to 2"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "The result holds classes -1"),
    ],
)
def test_labels_that_do_not_fit_are_refused(truth, found, words):
    with pytest.raises(AnnotationError, match=words):
        confusion(truth, found, 2)
