"""`litepose search` as a user calls it: what it writes, stops, goes on, refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("hotcoco")
pytest.importorskip("matplotlib")

from litepose import checkpoints, cli  # noqa: E402
from litepose.commands.search import parse_budget  # noqa: E402
from litepose.errors import SettingError  # noqa: E402
from litepose.search import outcome  # noqa: E402
from litepose.search.cost import CountedCost  # noqa: E402
from litepose.search.evaluate import SupernetAccuracy  # noqa: E402
from litepose.search.journal import read_journal  # noqa: E402
from tiny_model import write_tiny_checkpoint  # noqa: E402
from tiny_supernet import LISTS, SPACE, tiny_supernet  # noqa: E402

PICTURES = "synthetic:people=1-2,seed=4,size=64,length=2"
# One choice but for the last stage, so that few parts are timed.
FEW = {
    **{key: value[:1] for key, value in LISTS.items() if isinstance(value[0], int)},
    **{key: [one[:1] for one in LISTS[key]] for key in ("deconv_channels", "depths")},
    "stage_channels": [[8], [8], [8], [8, 24]],
}


def litepose(*arguments: object) -> int:
    try:
        cli.main([str(argument) for argument in arguments])
    except SystemExit as stopped:
        return int(stopped.code or 0)
    return 0


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with super.safetensors and few.json."""
    torch.set_num_threads(1)
    whole = tiny_supernet()
    checkpoints.save(tmp_path / "super.safetensors", whole.network.state_dict(), whole.spec)
    (tmp_path / "few.json").write_text(json.dumps(FEW))
    return tmp_path


def search(desk: Path, *more: object, budget: str = "60M") -> int:
    return litepose(
        "search", desk / "super.safetensors", "--budget", budget, "--data", PICTURES, "--batches", 1, "--measure",
        "OKS", "--population", 4, "--generations", 2, "-o", desk / "found", *more,
    )  # fmt: skip


def test_a_search_writes_front_archs_plot_log_and_settings(desk, capsys):
    assert search(desk) == 0
    found = desk / "found"
    pareto = json.loads((found / "pareto.json").read_text())
    cost = CountedCost("macs", tiny_supernet().network.shared_settings)
    assert pareto["evaluated"] == 12 and pareto["budget"] == 60e6
    for row in pareto["front"]:
        arch = json.loads((found / row["file"]).read_text())
        SPACE.check(arch)
        assert arch == row["arch"] and cost(arch) == row["cost"] <= 60e6
        assert {"macs_reference", "params", "AP", "OKS"} <= set(row)
    costs, accuracies = ([row[key] for row in pareto["front"]] for key in ("cost", "accuracy"))
    assert costs == sorted(costs) and accuracies == sorted(accuracies)
    assert json.loads((found / "archs" / "best.json").read_text()) == pareto["front"][-1]["arch"]
    assert (found / "pareto.svg").read_text().lstrip().startswith("<?xml")
    assert (found / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((found / "settings.json").read_text())["cost"] == "macs"
    assert [record["kind"] for record in read_journal(found / "log.jsonl")].count("arch") == 12
    said = " ".join(capsys.readouterr().out.split())
    assert "12 networks evaluated" in said and "Spearman" in said


def test_what_it_finds_can_be_cut_out(desk):
    assert search(desk, "--no-predictor") == 0
    best = desk / "found" / "archs" / "best.json"
    assert litepose("extract", desk / "super.safetensors", "--arch", best, "-o", desk / "cut.safetensors") == 0
    assert (desk / "cut.safetensors").stat().st_size > 1000


def test_ctrl_c_says_how_to_go_on_and_going_on_ends_the_same(desk, monkeypatch, capsys):
    assert search(desk) == 0
    whole = (desk / "found" / "log.jsonl").read_bytes()
    (desk / "found" / "log.jsonl").unlink()
    measure, calls = SupernetAccuracy.__call__, []

    def stopped(self, arch):
        calls.append(arch)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return measure(self, arch)

    monkeypatch.setattr(SupernetAccuracy, "__call__", stopped)
    assert search(desk) == 130
    assert "--resume" in capsys.readouterr().out
    assert search(desk) == 2  # without --resume
    assert "--resume" in capsys.readouterr().err
    assert search(desk, "--resume") == 0
    assert (desk / "found" / "log.jsonl").read_bytes() == whole
    assert len(calls) == 6 + 7


def test_a_latency_table_is_measured_once_and_searched_by(desk, capsys):
    table = desk / "table.json"
    few = ("--space", desk / "few.json", "--profile", table)
    assert litepose("search", desk / "super.safetensors", *few) == 0
    assert "table.json: 17 parts by onnx with 1 threads" in capsys.readouterr().out
    before = table.read_bytes()
    assert search(desk, "--cost", "latency", *few, budget="1000ms") == 0
    assert table.read_bytes() == before
    assert json.loads((desk / "found" / "pareto.json").read_text())["evaluated"] == 2
    assert search(desk, "--cost", "latency", "--threads", 2, *few, budget="1000") == 2
    assert "with 1 threads; asked were onnx and 2" in capsys.readouterr().err


def test_mistakes_are_one_message_and_exit_code_two(desk, capsys):
    def refused(*arguments: object) -> str:
        assert litepose("search", *arguments) == 2
        return " ".join(capsys.readouterr().err.split())

    file = desk / "super.safetensors"
    assert "needs --budget" in refused(file)
    assert "needs annotated pictures" in refused(file, "--budget", "1G")
    assert "is no budget of macs" in refused(file, "--budget", "much", "--data", PICTURES, "-o", desk / "x")
    small = refused(file, "--budget", "0.1M", "--data", PICTURES, "-o", desk / "x")
    assert "smallest network of the search space 'tiny' costs" in small and "M MACs" in small
    write_tiny_checkpoint(desk / "plain.safetensors")
    assert "holds one network" in refused(desk / "plain.safetensors", "--budget", "1G")
    assert "space 'tiny'" in refused(file, "--space", "authors", "--budget", "1G")
    assert not (desk / "x").exists()


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("900M", "macs", 9e8),
        ("1.2G", "macs", 1.2e9),
        ("2e6", "params", 2e6),
        ("25", "latency", 25),
        ("2.5 ms", "latency", 2.5),
    ],
)
def test_budgets_are_read_with_their_units(text, kind, number):
    assert parse_budget(text, kind) == pytest.approx(number)


@pytest.mark.parametrize(
    ("text", "kind"), [("", "macs"), ("0", "macs"), ("-1M", "macs"), ("25ms", "macs"), ("1G", "latency")]
)
def test_budgets_that_are_none_are_refused(text, kind):
    with pytest.raises(SettingError, match="is no budget of"):
        parse_budget(text, kind)


def test_a_plot_labels_both_ends_of_a_long_front():
    assert outcome._spread(3, 6) == [0, 1, 2]
    assert outcome._spread(20, 6) == [0, 4, 8, 11, 15, 19]
