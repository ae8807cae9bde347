"""DaniAffCH's LitePose: network, targets, loss and limb decoding against the original."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from litepose.codecs.ae import AECodec
from litepose.codecs.base import Pass
from litepose.poses import Sample
from litepose.skeleton import CROWDPOSE14
from parity.fixtures import cases, load_case

SIDE, K = 256, 14
TRAINED = AECodec(tag_outputs=(True, True))
ITS_OWN = AECodec(
    tag_outputs=(True, True), grouping="limbs", detection_threshold=0.25, tag_threshold=1 - 0.9, nms_kernel=15
)
DECODED = [case for case in cases("dani-litepose") if case.startswith("decode")] or ["none-at-hand"]


def sample_of(people: np.ndarray) -> Sample:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    return Sample(CROWDPOSE14, image, people, np.zeros((len(people), 4)), np.ones(len(people)))


def test_targets_equal_the_original():
    _, a = load_case("dani-litepose", "loss")
    for image in range(3):
        targets = TRAINED.encode(sample_of(a[f"people_{image}"]), (SIDE, SIDE))
        for output, indices in enumerate((targets.tag_indices, *targets.more_tag_indices)):
            np.testing.assert_array_equal(indices, a[f"joints_{output}"][image])
            sums = targets.heatmaps[output].sum(axis=(1, 2), dtype=np.float64)
            np.testing.assert_allclose(sums, a[f"heatmap_sum_{output}"][image], rtol=1e-6)


def test_loss_and_gradient_equal_the_original():
    torch = pytest.importorskip("torch")
    from litepose.losses import AELoss, heatmap_loss

    _, a = load_case("dani-litepose", "loss")
    batch = [TRAINED.encode(sample_of(a[f"people_{image}"]), (SIDE, SIDE)) for image in range(3)]
    outputs = [torch.from_numpy(a[f"pred_{i}"].astype(np.float32) / 64).requires_grad_() for i in range(2)]
    heatmaps = [torch.from_numpy(np.stack([one.heatmaps[i] for one in batch])) for i in range(2)]
    masks = [torch.from_numpy(a[f"mask_{i}"].astype(np.float32))[:, None] for i in range(2)]
    targets = SimpleNamespace(
        heatmaps=heatmaps,
        masks=masks,
        tag_indices=torch.from_numpy(np.stack([one.tag_indices for one in batch])),
        more_tag_indices=[torch.from_numpy(np.stack([one.more_tag_indices[0] for one in batch]))],
    )
    parts = AELoss()(outputs, targets)
    for i in range(2):
        for image in range(3):
            one = heatmap_loss(outputs[i][image, None, :K], heatmaps[i][image, None], masks[i][image, None])
            assert float(one.detach()) == pytest.approx(float(a[f"heatmap_loss_{i}"][image]), rel=1e-5)
    assert float(parts["heatmap_0"] + parts["heatmap_1"]) == pytest.approx(float(a["heat_total"]), rel=1e-5)
    assert float(parts["push"] + parts["pull"]) == pytest.approx(float(a["tag_total"]), rel=1e-5)
    assert float(parts["total"]) == pytest.approx(float(a["total"]), rel=1e-5)
    parts["total"].backward()
    for i in range(2):
        gradient = outputs[i].grad.numpy()
        assert np.abs(gradient).sum(dtype=np.float64) == pytest.approx(float(a[f"grad_abs_sum_{i}"]), rel=1e-5)
        np.testing.assert_allclose(gradient[2, 5], a[f"grad_heat_row_{i}"], atol=1e-11, rtol=1e-4)
        indices = a[f"joints_{i}"][2].reshape(-1, 2)
        at_tags = gradient[2, K:].ravel()[indices[indices[:, 1] > 0, 0]]
        np.testing.assert_allclose(at_tags, a[f"tag_grad_{i}"], atol=1e-9, rtol=1e-4)


@pytest.mark.parametrize("case", DECODED)
def test_limbs_equal_the_original(case):
    _, a = load_case("dani-litepose", case)
    outputs = tuple(a[f"out_{i}"][0].astype(np.float32) for i in range(2))
    maps = ITS_OWN.aggregate([Pass(outputs)], (SIDE, SIDE), CROWDPOSE14)
    candidates, edges = ITS_OWN.match_limbs(maps, CROWDPOSE14)
    wanted = a["keypoints"]
    np.testing.assert_array_equal(candidates.keypoints, wanted[:, 0])
    np.testing.assert_array_equal(candidates.cells, wanted[:, 1:3])
    np.testing.assert_allclose(candidates.tags[:, 0], wanted[:, 3], atol=1e-5)
    ends = np.concatenate([candidates.cells[edges[:, 1]], candidates.cells[edges[:, 2]]], axis=1)
    np.testing.assert_array_equal(np.concatenate([edges[:, :1], ends], axis=1), a["edges"])


@pytest.mark.parametrize("case", cases("models/dani-litepose"))
def test_network_and_counts_equal_the_original(case, tmp_path):
    torch = pytest.importorskip("torch")
    from litepose import checkpoints
    from litepose.models.layers import fuse_batchnorm
    from parity.fill import fill_input
    from parity.networks import check_counts, filled

    torch.set_num_threads(1)
    about, a = load_case("models/dani-litepose", case)
    torch.save(filled(about), tmp_path / "bigarch.pth")
    network, spec = checkpoints.import_official(tmp_path / "bigarch.pth", "litepose_dani", CROWDPOSE14)
    assert (spec.input.colour, spec.input.mean, spec.input.std) == ("RGB", (0, 0, 0), (1, 1, 1))
    assert spec.codec == TRAINED
    images = torch.from_numpy(fill_input(about["input_name"], tuple(about["input_shape"])))
    with torch.no_grad():
        found, folded = network(images), fuse_batchnorm(network)(images)
    for i in range(2):
        wanted = a[f"output_{i}"]
        assert np.abs(found[i].numpy() - wanted).max() < 1e-4  # float32 of values up to 12
        assert np.abs(folded[i].numpy() - wanted).max() < 5e-3  # folding rounds every weight once
    check_counts(network, about)
