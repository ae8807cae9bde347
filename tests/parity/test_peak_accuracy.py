"""The training monitor of top-down networks against zhang943/lpn-pytorch@f397525 and mmpose 0.13."""

import numpy as np

from litepose.codecs.heatmap_peaks import highest_cells
from litepose.metrics.peaks import mean_accuracy, peak_accuracy
from parity.fixtures import load_case


def test_accuracy_equals_lpn():
    _, a = load_case("topdown-lpn-loss", "pck-accuracy")
    shares = peak_accuracy(a["output"], a["target"])
    np.testing.assert_array_equal(shares, a["acc"][1:])
    assert mean_accuracy(shares) == a["avg_acc"] == a["acc"][0]
    assert (shares >= 0).sum() == a["cnt"]
    for maps, wanted in zip(a["output"], a["pred"], strict=True):
        np.testing.assert_array_equal(highest_cells(maps)[0], wanted)


def test_accuracy_equals_mmpose():
    _, a = load_case("topdown-loss", "mse")
    shares = peak_accuracy(a["output"], a["target"], counted=a["target_weight"][..., 0] > 0)
    np.testing.assert_array_equal(shares, a["acc"])
    np.testing.assert_allclose(mean_accuracy(shares), a["avg_acc"], rtol=1e-12)
    assert (shares >= 0).sum() == a["cnt"]
