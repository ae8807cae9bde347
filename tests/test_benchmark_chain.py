"""The chain's benchmark: the reference's shape of work gives the reference's people, and the tables are printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

from parity.fixtures import cases, load_case

torch = pytest.importorskip("torch")
pytest.importorskip("munkres")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MODULES = ("chain", "decode", "reference_chain")
DEFAULTS = {
    "max_people": 30, "detection_threshold": 0.1, "tag_threshold": 1.0, "use_detection_val": True,
    "ignore_too_much": False, "nms_kernel": 5,
}  # fmt: skip


@pytest.fixture
def chain(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import chain

    yield chain
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("case", cases("ae-decode"))
def test_the_shape_of_work_gives_the_references_people(chain, case):
    from reference_chain import parsed

    about, a = load_case("ae-decode", case)
    if any(about["params"][name] != value for name, value in DEFAULTS.items()) or not len(a["matched"]):
        pytest.skip("other settings than the chain's, or nobody")
    people = parsed(torch.from_numpy(a["det"]), torch.from_numpy(a["tag"]))
    np.testing.assert_array_equal(np.array(people)[..., :3], a["people_adjust1_refine1"][..., :3])


@pytest.mark.slow
@pytest.mark.parametrize("ours", ["onnx", "onnx+pixels+peaks"])
def test_both_chains_find_the_people_of_the_scene(chain, ours, capsys):
    chain.main(["--people", "5", "--rounds", "1", "--size", "192x128", "--ours", ours])
    rows = re.findall(r"^ +5 +(reference|fast) +(\d+) ", capsys.readouterr().out, re.MULTILINE)
    assert rows == [("reference", "5"), ("fast", "5")]
