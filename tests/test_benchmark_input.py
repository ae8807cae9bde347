"""benchmarks/input.py: its two sides make the same targets, and it runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import coco_files as made

torch = pytest.importorskip("torch")

from litepose.codecs import AECodec  # noqa: E402
from litepose.datasets import open_dataset  # noqa: E402
from litepose.transforms import RandomWarp  # noqa: E402

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def beside_the_script(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield
    for name in ("input", "input_reference"):
        sys.modules.pop(name, None)


def two_people(folder):
    people = [made.person(1), made.person(2, keypoints=made.keypoints((9, 4), 1)), made.person(3, image=3)]
    return made.write(folder, made.coco(4, people))


def test_both_ways_make_the_same_targets_of_the_same_sample(tmp_path):
    import input_reference as reference

    sample = open_dataset(two_people(tmp_path))[0]
    varied = RandomWarp(size=(64, 64), mirror=0.0)(sample, np.random.default_rng(3))
    ours = AECodec().encode(varied, (64, 64))
    patch = reference.gaussian(reference.SIGMA)
    for heatmaps, stride in zip(ours.heatmaps, reference.STRIDES, strict=True):
        cells = varied.keypoints.astype(np.float64)
        cells[..., :2] /= stride
        drawn = reference.draw_heatmaps(cells, 64 // stride, patch)
        np.testing.assert_array_equal(drawn, heatmaps)
        if stride == 4:
            np.testing.assert_array_equal(reference.tag_places(cells, 16), ours.tag_indices)


def test_it_runs_and_prints_a_ratio_for_each_way(tmp_path, capsys):
    import input as benchmark

    asked = ["--side", "64", "--short-side", "80", "--pictures", "4", "--rounds", "2", "--no-gpu"]
    benchmark.main([str(two_people(tmp_path)), *asked])
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if " to " in line and "(" in line]
    assert len(rows) == 7
    assert "reference" in rows[0] and "1.00 (1.00 to 1.00)" in rows[0]
    assert "packed: 80 px, fitting: 86 px, small: 64 px, raw: 80 px short side" in said
    assert "equal: masks and tags exactly" in said
