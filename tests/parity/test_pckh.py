"""PCKh against HRNet's own evaluation and mmpose 0.13's."""

from __future__ import annotations

import numpy as np

import mpii_files as made
from litepose.metrics.pckh import (
    GROUPS,
    PUBLISHED_THRESHOLD,
    TRUE_THRESHOLD,
    PckhStats,
    PckhTruth,
    evaluate_pckh,
    head_sizes,
    read_truth_mat,
)
from litepose.skeleton import MPII16
from parity.fixtures import load_case

PERCENT = 1e-8  # mmpose keeps the table of its thresholds in float32


def values(stats: PckhStats) -> list[float]:
    """In the order in which both references return them: the groups, Mean, what they call Mean@0.1."""
    return [100 * one for one in (*stats.groups.values(), stats.mean, stats.mean_at_0_11)]


def test_pckh_equals_mmpose():
    _, a = load_case("pckh", "mpii16")
    truth = PckhTruth(a["gt"] - 1, a["missing"] == 0, head_sizes(a["headbox"].reshape(-1, 4)))
    stats = evaluate_pckh(truth, a["pred"])
    assert list(a["metric_names"][:7]) == list(GROUPS)
    np.testing.assert_allclose(values(stats), a["metrics"], rtol=PERCENT)
    np.testing.assert_allclose(100 * np.array(list(stats.per_keypoint.values())), a["joint_pckh05"], rtol=PERCENT)


def test_the_published_mean_at_0_1_is_taken_at_0_11_and_the_true_one_differs():
    _, a = load_case("pckh", "mpii16")
    labelled = a["missing"] == 0
    stats = evaluate_pckh(PckhTruth(a["gt"] - 1, labelled, head_sizes(a["headbox"].reshape(-1, 4))), a["pred"])
    counted = [k for k, name in enumerate(MPII16.keypoints) if name not in ("pelvis", "thorax")]
    counts = labelled.sum(axis=0)[counted]
    for found, wanted in ((stats.mean_at_0_11, "as_published"), (stats.mean_at_0_10, "true")):
        by_keypoint = a[f"joint_pckh010_{wanted}"][counted]
        np.testing.assert_allclose(100 * found, (by_keypoint * counts).sum() / counts.sum(), rtol=PERCENT)
    assert stats.mean_at_0_11 > stats.mean_at_0_10 + 0.05
    grid = np.arange(0, 0.51, 0.01)
    assert grid[11] == PUBLISHED_THRESHOLD and grid[10] == TRUE_THRESHOLD


def test_pckh_equals_hrnet_on_its_mat_file(tmp_path):
    about, a = load_case("mpii-topdown-eval", "pckh")
    assert about["joint_names"] == list(made.MAT_NAMES)
    path = made.save_mat(tmp_path / "gt_valid.mat", **{name: a[name] for name in made.MAT_ARRAYS})
    truth = read_truth_mat(path)
    np.testing.assert_allclose(values(evaluate_pckh(truth, a["preds_0based"][..., :2])), a["values"], rtol=PERCENT)
    np.testing.assert_allclose(truth.keypoints, a["pos_gt_src"].transpose(2, 0, 1) - 1)
