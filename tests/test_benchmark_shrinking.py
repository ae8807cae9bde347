"""The study of gradual shrinking: a chain trained by one command, which goes on where it was."""

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).parents[1]
TINY = ["--set", "model.size=[64, 64]", "--set", "run.batch=2", "--set", "run.epoch_samples=2", "--set",
        "run.epochs=1", "--set", "run.workers=0", "--set", "data.validation.limit=1", "--set",
        "run.evaluate_epochs=1"]  # fmt: skip


def study():
    spec = importlib.util.spec_from_file_location("shrinking", ROOT / "benchmarks" / "shrinking.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_chain_is_trained_drawn_and_not_trained_twice(tmp_path, capsys):
    shrinking = study()
    arguments = ["-o", str(tmp_path), "--networks", "higherhrnet_w16_shrink3", "litepose_xs", *TINY]
    shrinking.main(arguments)
    rows = json.loads((tmp_path / "shrinking.json").read_text())
    assert [row["network"] for row in rows] == ["higherhrnet_w16_shrink3", "litepose_xs"]
    assert rows[0]["macs_reference"] > rows[1]["macs_reference"] > 0
    assert all(0 <= row["AP"] <= 1 for row in rows)
    assert b"<svg" in (tmp_path / "shrinking.svg").read_bytes()
    written = (tmp_path / "litepose_xs" / "last.safetensors").stat().st_mtime_ns
    shrinking.main(arguments)
    assert (tmp_path / "litepose_xs" / "last.safetensors").stat().st_mtime_ns == written
    assert capsys.readouterr().out.count("litepose_xs") == 2


def test_the_printed_numbers_of_the_chain_are_what_the_networks_cost():
    shrinking = study()
    from litepose import checkpoints, counting
    from litepose.skeleton import CROWDPOSE14

    for name, printed in shrinking.PRINTED.items():
        if printed is None:
            continue
        spec = checkpoints.default_spec(name, CROWDPOSE14)
        counts = counting.count(checkpoints.build_network(spec), (512, 512), rule=counting.rule_of(name))
        assert counts.macs_reference / 1e9 == pytest.approx(printed[1], rel=0.012), name  # as printed, or inferred
