"""`HeatmapLoss` against mmpose 0.13 and zhang943/lpn-pytorch@f397525: values and gradients."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from parity.fixtures import load_case

torch = pytest.importorskip("torch")

from litepose.losses import HeatmapLoss  # noqa: E402

VALUES = {"rtol": 1e-5, "atol": 1e-9}  # float32 sums over a few thousand terms, added in another order
GRADIENTS = {"rtol": 1e-5, "atol": 1e-9}


def loss_of(loss: HeatmapLoss, output: np.ndarray, target: np.ndarray, weight: np.ndarray):
    """Return (total, gradient)."""
    output = torch.from_numpy(output).requires_grad_()
    weights = torch.from_numpy(weight[..., 0])
    parts = loss((output,), SimpleNamespace(heatmaps=torch.from_numpy(target), weights=weights))
    assert set(parts) == {"heatmap", "total"}
    assert parts["heatmap"] == parts["total"]
    parts["total"].backward()
    return parts["total"].detach().numpy(), output.grad.numpy()


def test_the_squared_error_equals_mmpose():
    _, a = load_case("topdown-loss", "mse")
    value, gradient = loss_of(HeatmapLoss(), a["output"], a["target"], a["target_weight"])
    np.testing.assert_allclose(value, a["loss"], **VALUES)
    np.testing.assert_allclose(gradient, a["grad"], **GRADIENTS)
    value, _ = loss_of(HeatmapLoss(), a["output"], a["target"], np.ones_like(a["target_weight"]))
    np.testing.assert_allclose(value, a["loss_unweighted"], **VALUES)
    value, _ = loss_of(HeatmapLoss(ohkm=8), a["output"], a["target"], a["target_weight"])
    np.testing.assert_allclose(value, a["loss_ohkm8"], **VALUES)


def test_the_error_of_heat_with_offsets_equals_mmpose():
    _, a = load_case("topdown-loss", "mse")
    value, _ = loss_of(HeatmapLoss(), a["comb_output"], a["comb_target"], a["target_weight"])
    np.testing.assert_allclose(value, a["comb_loss"], **VALUES)


def test_the_halved_squared_error_equals_lpn():
    _, a = load_case("topdown-lpn-loss", "joints-mse")
    value, gradient = loss_of(HeatmapLoss(half=True), a["output"], a["target"], a["target_weight"])
    np.testing.assert_allclose(value, a["mse_weighted"], **VALUES)
    np.testing.assert_allclose(gradient, a["mse_weighted_grad"], **GRADIENTS)
    value, _ = loss_of(HeatmapLoss(half=True), a["output"], a["target"], np.ones_like(a["target_weight"]))
    np.testing.assert_allclose(value, a["mse_unweighted"], **VALUES)


def test_the_error_of_the_hardest_keypoints_equals_lpn():
    _, a = load_case("topdown-lpn-loss", "joints-mse")
    hardest = HeatmapLoss(half=True, ohkm=8)
    value, _ = loss_of(hardest, a["output"], a["target"], a["target_weight"])
    np.testing.assert_allclose(value, a["ohkm8_weighted"], **VALUES)
    value, _ = loss_of(hardest, a["output"], a["target"], np.ones_like(a["target_weight"]))
    np.testing.assert_allclose(value, a["ohkm8_unweighted"], **VALUES)
