"""Judging weights during a training, with networks whose people are known."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dot_model import LEVELS, K, crop_spec, paint
from litepose.errors import TrainingError
from litepose.poses import Sample
from litepose.skeleton import COCO17

torch = pytest.importorskip("torch")
pytest.importorskip("hotcoco")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from litepose.losses import HeatmapLoss  # noqa: E402
from litepose.training.validate import Validation  # noqa: E402

SIZE = (640, 480)


class Dots(nn.Module):
    """The network of `dot_model.write_crop_model` in PyTorch: it reads the person of a crop."""

    def __init__(self, *, udp):
        super().__init__()
        self.udp = udp

    def forward(self, image):
        red, _, blue = image.split(1, dim=1)
        levels = torch.tensor(LEVELS / 255, dtype=torch.float32).view(1, -1, 1, 1)
        heat = blue * (1 - 2 * (K + 1) * (red - levels).abs()).relu()
        quarter = (image.shape[2] // 4, image.shape[3] // 4)
        return (
            (functional.interpolate(heat, quarter, mode="bilinear", align_corners=True),)
            if self.udp
            else (heat[..., ::4, ::4],)
        )


class Blind(nn.Module):
    def forward(self, image):
        return (torch.zeros(len(image), K, image.shape[2] // 4, image.shape[3] // 4),)


class Pictures:
    """Pictures with two people each, who lie far apart."""

    name, skeleton, ids = "dots", COCO17, (1, 2)

    def __len__(self):
        return 2

    def __getitem__(self, index):
        step = np.arange(K)
        grid = np.stack([step % 4 * 50, step // 4 * 50], axis=-1).astype(np.float32)
        people = np.stack([grid + np.float32([70 + 20 * index, 150]), grid + np.float32([400, 120])])
        low, high = people.min(axis=1) - 12, people.max(axis=1) + 12
        keypoints = np.concatenate([people, np.full((2, K, 1), 2)], axis=-1).astype(np.float32)
        return Sample(
            COCO17, paint(people, SIZE), keypoints, np.concatenate([low, high], axis=1), np.full(2, 30000.0),
            id=index + 1,
        )  # fmt: skip


@pytest.mark.parametrize("resize", ["box", "box_udp"])
def test_a_top_down_network_is_judged_on_the_boxes_of_the_people(resize):
    validation = Validation(Pictures(), crop_spec(resize=resize), HeatmapLoss())
    seeing, blind = validation(Dots(udp=resize == "box_udp")), validation(Blind())
    assert seeing["AP50"] == 1
    assert seeing["AR"] > 0.9
    assert (blind["AP"], blind["AR"]) == (0, 0)
    # A blind network errs by its targets alone: the mean square of a gaussian of sigma 2 is 4 pi cells of 64x48.
    assert blind["loss"] == pytest.approx(4 * np.pi / (64 * 48), rel=0.02)
    assert seeing["loss"] != blind["loss"]


class WithoutArea(Pictures):
    """The second person's area is 0: HRNet's loader leaves such a person out."""

    def __getitem__(self, index):
        return dataclasses.replace(super().__getitem__(index), areas=np.array([30000.0, 0.0]))


class Nothing(Pictures):
    def __len__(self):
        return 0


def test_the_loss_is_the_mean_over_people_with_a_box():
    both = Validation(Pictures(), crop_spec(), HeatmapLoss())(Blind())["loss"]
    firsts = Validation(WithoutArea(), crop_spec(), HeatmapLoss())(Blind())["loss"]
    assert firsts == pytest.approx(both, rel=0.02)  # half as many people, each as wrong
    one = Validation(Pictures(), crop_spec(), HeatmapLoss(), limit=1)(Blind())["loss"]
    assert one == pytest.approx(both, rel=0.02)


def test_no_readable_picture_is_an_error():
    with pytest.raises(TrainingError, match="dots"):
        Validation(Nothing(), crop_spec(), HeatmapLoss())(Blind())
