"""The learning curve: known curves are found again, and it says what it does not know."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from litepose.errors import SettingError

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PEOPLE = np.array([760, 1520, 3040, 6080], dtype=float)


@pytest.fixture
def curve(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import learning_curve

    yield learning_curve
    sys.modules.pop("learning_curve")


def write_results(path: Path, values: dict[str, np.ndarray], *, people=PEOPLE, samples=25600) -> Path:
    count = len(people)
    samples = np.broadcast_to(samples, count)
    lines = [
        json.dumps({"share": people[k] / people.max(), "people": people[k], "samples": int(samples[k]),
                    **{name: float(numbers[k]) for name, numbers in values.items()}})
        for k in range(count)
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_log_linear_curve_is_found_again_and_twice_the_data_adds_its_slope(curve):
    values = 0.02 * np.log2(PEOPLE) - 0.1
    fitted = curve.extrapolate(
        PEOPLE, values, measure="AP", axis="people", shape="log-linear", rng=np.random.default_rng(0)
    )  # fmt: skip
    assert fitted.terms == pytest.approx((1.1, 0.02))
    assert [one.value for one in fitted.guesses] == pytest.approx([values[-1] + 0.02 * k for k in (1, 2, 3)])
    assert fitted.residual < 1e-12 and fitted.guesses[0].high - fitted.guesses[0].low < 1e-9


@pytest.mark.parametrize("floor, power", [(0.3, 0.5), (0.0, 0.2)])
def test_a_power_law_is_found_again(curve, floor, power):
    errors = floor + 4.0 * PEOPLE**-power
    a, b, c = curve.fit(PEOPLE, errors, "power law")
    assert (a, b, c) == pytest.approx((floor, 4.0, power), rel=1e-6, abs=1e-9)


def test_a_floor_below_zero_is_not_believed_nor_data_that_harm(curve):
    a, _, _ = curve.fit(PEOPLE, 1.2 - 0.09 * np.log2(PEOPLE), "power law")
    assert a == 0
    a, b, _ = curve.fit(PEOPLE, np.array([0.1, 0.2, 0.3, 0.4]), "power law")
    assert (a, b) == (pytest.approx(0.25), 0)


def test_noise_makes_the_interval_wide_and_it_holds_the_truth_mostly(curve):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(20):
        values = 0.02 * np.log2(PEOPLE) - 0.1 + rng.normal(0, 0.004, 4)
        fitted = curve.extrapolate(PEOPLE, values, measure="AP", axis="people", shape="log-linear", rng=rng)
        twice = fitted.guesses[0]
        assert twice.low <= twice.value <= twice.high
        held += twice.low <= 0.02 * np.log2(2 * PEOPLE[-1]) - 0.1 <= twice.high
    assert held >= 14  # of 20: four points know little


def test_a_loss_falls_and_is_not_taken_from_one(curve):
    losses = 0.02 + 3.0 * PEOPLE**-0.7
    fitted = curve.extrapolate(
        PEOPLE, losses, measure="loss", axis="people", shape="power law", rng=np.random.default_rng(0)
    )
    assert fitted.guesses[0].value == pytest.approx(0.02 + 3.0 * (2 * PEOPLE[-1]) ** -0.7, rel=1e-4)


def test_only_trainings_that_differ_in_one_thing_are_compared(curve):
    lines = [{"people": p, "samples": s} for p, s in ((1, 10), (2, 10), (4, 10), (4, 20), (4, 40), (1, 40))]
    assert [(one["people"], one["samples"]) for one in curve.comparable(lines, "people")] == [(1, 10), (2, 10), (4, 10)]
    assert [one["samples"] for one in curve.comparable(lines, "samples")] == [10, 20, 40]
    assert curve.comparable([], "people") == []


def test_it_prints_plots_and_writes_both_curves(curve, tmp_path, capsys):
    values = {"AP": 0.02 * np.log2(PEOPLE) - 0.1, "loss": 0.02 + 3.0 * PEOPLE**-0.7}
    results = write_results(tmp_path / "results.jsonl", values)
    plot, out = tmp_path / "curve.svg", tmp_path / "curve.json"
    curve.main([str(results), "--plot", str(plot), "--json", str(out)])
    said = capsys.readouterr().out
    assert "over people: 4 trainings, 760 to 6080, samples 25600" in said
    assert "x2 0.171 (0.171 .. 0.171)" in said  # log-linear AP
    assert "pck: not measured of all" in said
    assert "over samples: 1 comparable trainings" in said
    assert {(one["measure"], one["shape"]) for one in json.loads(out.read_text())} == {
        (measure, shape) for measure in ("AP", "loss") for shape in ("log-linear", "power law")
    }
    assert plot.read_text().count("<svg") == 1


def test_a_line_that_is_no_training_is_named(curve, tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"people": 1, "samples": 2}\n{"people": 1}\n')
    with pytest.raises(SettingError, match="Line 2"):
        curve.read_results(path)
