"""The comparison of engines prints a line for each network and each pair of engines that are installed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def engines(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import engines

    yield engines
    sys.modules.pop("engines")


def test_it_prints_errors_and_ratios(engines, monkeypatch, capsys):
    monkeypatch.setattr(engines, "ENGINES", ("onnx", "absent"))
    monkeypatch.setattr(engines, "is_installed", lambda name: name == "onnx")
    engines.main(["--parity", "litepose_xs", "--speed", "litepose_xs", "--size", "64x64", "--rounds", "2"])
    printed = capsys.readouterr().out
    assert "engines: onnx; not installed: absent" in printed
    (error,) = re.findall(r"^litepose_xs +([\d.e-]+)$", printed, re.MULTILINE)
    assert 0 < float(error) < 1e-4
    (ratio,) = re.findall(r"^litepose_xs +onnx plain +onnx .* ([\d.]+) \([\d.]+-[\d.]+\)", printed, re.MULTILINE)
    assert 0.3 < float(ratio) < 3


def test_who_begins_changes_from_round_to_round(engines):
    calls = []
    times = engines.take_turns([lambda _: calls.append("a"), lambda _: calls.append("b")], None, 2)
    assert len(times) == 2
    assert "".join(calls) == "baab" * 2  # two rounds to warm up, two that count
