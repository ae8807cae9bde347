"""What imported weights expect of pixels: the channel order and the normalisation that their authors trained with.

Shapes cannot tell them apart: the same tensors come from RGB and BGR trainings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints, models  # noqa: E402
from litepose.predictor import normalise  # noqa: E402
from litepose.skeleton import COCO17, CROWDPOSE14, MPII16, Skeleton  # noqa: E402
from litepose.spec import PoseSpec  # noqa: E402

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SHALLOW = {"blocks": (1, 1, 1, 1)}


def imported(folder: Path, model: str, skeleton: Skeleton, *, source: str = "official", **settings: Any) -> PoseSpec:
    """Return the spec of fresh weights that went out under the source's names and came in again."""
    state = models.build(model, num_keypoints=skeleton.num_keypoints, **settings).state_dict()
    named = {name.replace("head.", "final_layer."): tensor for name, tensor in state.items()}
    if source == "mmpose":
        named = {("keypoint_head." if "final" in name else "backbone.") + name: t for name, t in named.items()}
    torch.save(named, folder / "w.pth")
    return checkpoints.import_official(folder / "w.pth", model, skeleton, source=source, **settings)[1]


@pytest.mark.parametrize(
    ("model", "skeleton", "source", "settings", "colour"),
    [
        ("lpn_50", COCO17, "official", SHALLOW, "BGR"),
        ("lpn_50", CROWDPOSE14, "official", SHALLOW, "BGR"),
        ("lpn_50", MPII16, "official", SHALLOW, "RGB"),
        ("lpn_50", COCO17, "mmpose", SHALLOW, "RGB"),
        ("simplebaseline_18", COCO17, "official", {}, "BGR"),
        ("simplebaseline_18", MPII16, "official", {}, "BGR"),
        ("simplebaseline_shufflenetv2", COCO17, "mmpose", {}, "RGB"),
        ("hrnet_w16_small", COCO17, "mmpose", {}, "RGB"),
    ],
)
def test_imported_weights_get_their_authors_channel_order_and_numbers(
    model, skeleton, source, settings, colour, tmp_path
):
    spec = imported(tmp_path, model, skeleton, source=source, **settings)
    assert (spec.input.colour, spec.input.mean, spec.input.std) == (colour, MEAN, STD)  # numbers never turn round
    noted = {key: spec.provenance[key] for key in ("source", "colour", "mean", "std")}
    assert noted == {"source": source, "colour": colour, "mean": list(MEAN), "std": list(STD)}
    again = PoseSpec.from_json(spec.to_json())
    assert (again.input, again.provenance) == (spec.input, spec.provenance)


def test_a_blue_pixel_reaches_lpns_first_channel_less_the_mean_of_red(tmp_path):
    spec = imported(tmp_path, "lpn_50", COCO17, **SHALLOW)
    picture = np.array([[[200, 100, 50]]], dtype=np.uint8)  # B, G, R
    found = normalise(picture, spec.input)[:, 0, 0]
    wanted = [(200 / 255 - 0.485) / 0.229, (100 / 255 - 0.456) / 0.224, (50 / 255 - 0.406) / 0.225]
    np.testing.assert_allclose(found, wanted, rtol=1e-6)  # float32


def test_what_we_train_ourselves_is_rgb():
    for model in ("lpn_50", "simplebaseline_50"):
        spec = checkpoints.default_spec(model, COCO17)
        assert (spec.input.colour, spec.input.mean) == ("RGB", MEAN)


def test_lpns_weights_for_mpii_bring_their_bias(tmp_path):
    assert imported(tmp_path, "lpn_50", MPII16, **SHALLOW).codec.bias_px == 1.0
    assert imported(tmp_path, "lpn_50", COCO17, **SHALLOW).codec.bias_px == 0.0
