"""Specs of networks that look at one person: how crops are cut, and how many maps a keypoint has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints, models  # noqa: E402
from litepose.codecs import HeatmapCodec  # noqa: E402
from litepose.models.layers import FamilyDefault, PoseNetwork  # noqa: E402
from litepose.skeleton import COCO17  # noqa: E402


class OneConvolution(PoseNetwork):
    input_stride = 4
    output_strides = (4,)

    def __init__(self, *, num_keypoints: int) -> None:
        super().__init__()
        self.output_channels = (num_keypoints,)
        self.conv = torch.nn.Conv2d(3, num_keypoints, 4, stride=4)


@pytest.fixture(autouse=True)
def one_family(monkeypatch):
    default = FamilyDefault(codec="heatmap", outputs=("maps",), sizes={"crop": (192, 256)}, resize="box")
    family = SimpleNamespace(NETWORK=OneConvolution, VARIANTS={"crop": {}}, DEFAULT=default)
    monkeypatch.setattr(models, "family_of", lambda name: family)


def test_crops_are_hrnets_where_nothing_is_said():
    spec = checkpoints.default_spec("crop", COCO17)
    assert spec.input.resize == "box"
    assert spec.codec == HeatmapCodec()


@pytest.mark.parametrize(("encoding", "refinement", "channels"), [("udp", "udp", 17), ("udp_combined",) * 2 + (51,)])
def test_a_udp_encoding_gets_its_crops_and_its_maps(encoding, refinement, channels):
    codec = HeatmapCodec(encoding=encoding, refinement=refinement)
    spec = checkpoints.default_spec("crop", COCO17, codec=codec)
    assert spec.input.resize == "box_udp"
    assert [output.channels for output in spec.outputs] == [channels]
    assert checkpoints.build_network(spec).conv.weight.shape[0] == channels
