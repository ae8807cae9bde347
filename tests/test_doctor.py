"""`litepose doctor`: every check does its work here, and says so where it cannot."""

import json
import sys

import pytest

from litepose import cli, doctor, predictor
from litepose.poses import Poses
from litepose.skeleton import COCO17


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["doctor", *arguments])
    return int(stop.value.code or 0)


def test_all_checks_pass_in_a_whole_installation_and_the_report_lists_them(tmp_path, capsys):
    pytest.importorskip("torch")
    assert run("--json", str(tmp_path / "doctor.json")) == 0
    checks = {one["name"]: one for one in json.loads((tmp_path / "doctor.json").read_text())["checks"]}
    wanted = {"machine", "packages", "extra eval", "extra train", "engine onnx", "engine torch", "prediction",
              "training step", "export"}  # fmt: skip
    assert wanted <= set(checks)
    assert {name for name in wanted if checks[name]["state"] != "ok"} == set()
    assert "step 1 done" in checks["training step"]["note"]
    assert "All is well" in capsys.readouterr().out


def test_a_package_that_is_not_there_is_missing_and_no_failure(monkeypatch):
    monkeypatch.setitem(doctor.EXTRAS, "eval", ("hotcoco", "a-package-of-another-world"))
    check = next(check for check in doctor.checkup() if check.name == "extra eval")
    assert (check.state, check.note.startswith("a-package-of-another-world not installed")) == ("missing", True)
    assert "litepose[eval]" in check.note


def test_without_torch_the_training_step_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "litepose.training.loop", raising=False)
    check = doctor._tried("training step", lambda: doctor._training_step(None))  # type: ignore[arg-type]
    assert check.state == "missing"
    assert "litepose[train]" in check.note


def test_a_model_that_finds_nobody_is_a_failure_and_the_exit_code_says_so(monkeypatch, capsys):
    monkeypatch.setattr(predictor.Predictor, "__call__", lambda self, picture: Poses.empty(COCO17))
    monkeypatch.setattr(doctor, "EXTRAS", {})
    monkeypatch.setattr(doctor, "_training_step", lambda folder: "left out")
    monkeypatch.setattr(doctor, "_export", lambda folder: "left out")
    assert run() == 2
    printed = capsys.readouterr().out
    assert "failed  prediction" in printed
    assert "1 check failed" in printed
