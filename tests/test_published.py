"""The tables of published results: every printed figure is in them, beside counts and times of here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from litepose import cli, models
from litepose.errors import MissingPackageError, SettingError
from litepose.published import measure
from litepose.published.figures import AP_OVER_MACS, AP_OVER_SPEED, draw_figures
from litepose.published.frame_rates import FRAME_RATES
from litepose.published.markdown import page, table
from litepose.published.measure import Latencies, Latency, nothing_measured
from litepose.published.rows import Row, entries, gather

ROOT = Path(__file__).parents[1]
FAMILIES = {models.family_of(name).__name__: models.family_of(name) for name in models.names()}.values()


@pytest.fixture(scope="module")
def rows() -> tuple[Row, ...]:
    """All rows of LitePose and LPN."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "names", lambda: ["litepose_xs", "lpn_50"])
        return gather()


def measured(rows: tuple[Row, ...], **ratios: float) -> Latencies:
    """Return measurements of all rows: of 2, flip test 3.5, unless named."""
    by_key = {
        row.key: Latency(ratios.get(row.model, 2.0), 3.5 if row.top_down else None, 20.0, 10.0, 5) for row in rows
    }
    return Latencies("a made-up processor", 0.5, by_key)


def row_of(rows: tuple[Row, ...], model: str, keypoints: int) -> Row:
    return next(row for row in rows if (row.model, row.num_keypoints) == (model, keypoints))


def test_a_row_holds_what_was_printed_and_what_is_counted(rows):
    xs = row_of(rows, "litepose_xs", 14)
    assert (xs.family, xs.size, xs.data, xs.top_down) == ("litepose", (256, 256), "CrowdPose test", False)
    assert (xs.params, xs.macs, xs.macs_published) == (1_675_552, 882_892_800, 1_200_000_000)
    assert xs.stats == {"AP": 0.495}
    assert xs.latency_ms == {"Jetson Nano": 22, "Snapdragon 855": 27, "Raspberry Pi 4B+": 109}
    lpn = row_of(rows, "lpn_50", 16)
    assert lpn.top_down and lpn.stats["Wrist"] == 0.8350 and lpn.stats["PCKh"] == 0.8864
    assert row_of(rows, "lpn_50", 17).frame_rate == 17.0 and lpn.frame_rate is None


def test_every_printed_figure_has_an_input_that_its_network_takes_and_something_it_was_measured_on():
    for family in FAMILIES:
        for model, num_keypoints, size, figures in entries(family):
            stride = family.NETWORK.input_stride
            assert size[0] % stride == size[1] % stride == 0, model
            assert figures["data"] and num_keypoints in (14, 16, 17, 18), model


def test_frame_rates_belong_to_networks_with_an_accuracy():
    known = {(model, size) for family in FAMILIES for model, keypoints, size, _ in entries(family) if keypoints == 17}
    assert set(FRAME_RATES) <= known


def test_the_table_is_the_authors_beside_ours(rows):
    crowdpose = [row for row in rows if row.data == "CrowdPose test"]
    lines = table(crowdpose, measured(rows, litepose_s=3.777)).splitlines()
    assert lines[0].endswith("| AP | Jetson Nano, ms | Snapdragon 855, ms | Raspberry Pi 4B+, ms | here |")
    assert lines[2].startswith("| **litepose** |")
    wanted = "| litepose_s | 448x448 | 2.73 M | 3.61 G | 4.99 G | 5.00 G | 58.3 | 97 | 76 | 420 | 3.78 |"
    assert wanted in lines
    assert len({line.count("|") for line in lines}) == 1


def test_what_is_not_known_is_a_dash(rows):
    lines = table([row for row in rows if row.data.startswith("CrowdPose")], nothing_measured()).splitlines()
    (line,) = [line for line in lines if line.startswith("| litepose_l ")]
    assert line.endswith("| 61.9 | - | - | - | - |")


def test_two_decimals_stay_where_they_were_printed(rows):
    lines = table([row for row in rows if row.data.startswith("MPII")], nothing_measured()).splitlines()
    (line,) = [line for line in lines if line.startswith("| lpn_50 ")]
    assert "| 96.56 | 95.33 | 88.51 | 83.5 | 88.84 | 84.0 | 79.81 | 88.64 | 34.12 |" in line


def test_the_page_names_machine_load_and_figures(rows, tmp_path):
    text = page(rows, measured(rows), {tmp_path / "images" / "a.svg": AP_OVER_MACS}, folder=tmp_path / "docs")
    assert "Measured on a made-up processor with a load of up to 0.5; the reference took 10.0 ms." in text
    assert "](../images/a.svg)" in text and AP_OVER_MACS.caption in text
    assert [line for line in text.splitlines() if line.startswith("## ")][:3] == [
        "## COCO val2017", "## COCO val2017, boxes of person AP .564, flip test", "## CrowdPose test",
    ]  # fmt: skip


def test_figures_are_small_and_the_same_each_time(rows, tmp_path):
    first = draw_figures(rows, measured(rows), tmp_path / "a")
    second = draw_figures(rows, measured(rows), tmp_path / "b")
    assert list(first.values()) == [AP_OVER_MACS, AP_OVER_SPEED]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert len(one.read_bytes()) < 100_000
    drawn = [path.read_text() for path in first]
    assert all(f">{name}<" in drawn[0] for name in ("litepose", "xs", "prune_s")) and ">lpn<" not in drawn[0]
    assert all(f">{name}<" in drawn[1] for name in ("lpn", "50", "152")) and ">xs<" not in drawn[1]


def test_without_measurements_there_is_no_figure_of_speed(rows, tmp_path):
    assert list(draw_figures(rows, nothing_measured(), tmp_path).values()) == [AP_OVER_MACS]


def test_without_matplotlib_the_figures_say_what_to_install(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"litepose\[eval\]"):
        draw_figures(rows, nothing_measured(), tmp_path)


def test_networks_take_turns_with_the_reference_and_the_ratio_is_kept():
    now, order = [0.0], []

    def network(cost: float, name: str):
        def call(batch: np.ndarray) -> None:
            order.append((name, batch.shape))
            now[0] += cost * len(batch)

        return call

    latency = measure.compare(
        network(0.03, "network"), (64, 32), network(0.01, "reference"), (32, 32), clock=lambda: now[0]
    )
    assert (latency.ratio, latency.flip_ratio, latency.ms, latency.reference_ms) == (3.0, 6.0, 30.0, 10.0)
    turn = [("reference", (1, 3, 32, 32)), ("network", (1, 3, 32, 64)), ("network", (2, 3, 32, 64))]
    assert order == turn * (1 + measure.MOST_ROUNDS) and latency.rounds == measure.MOST_ROUNDS


def test_a_network_takes_as_long_as_itself(tmp_path):
    runtimes = [measure._exported("litepose_xs", (64, 64), 14, tmp_path / f"{n}.onnx") for n in range(2)]
    latency = measure.compare(runtimes[0], (64, 64), runtimes[1], (64, 64), views=(1,))
    assert 0.5 < latency.ratio < 2  # a busy machine
    assert latency.flip_ratio is None


@pytest.fixture
def fast(monkeypatch):
    """Exports that cost nothing; which networks were exported."""
    exported = []
    monkeypatch.setattr(measure, "_exported", lambda *given: exported.append(given[:3]) or (lambda batch: None))
    monkeypatch.setattr(measure, "compare", lambda *_, views: Latency(2.0, None, 20.0, 10.0, len(views)))
    return exported


def test_only_what_the_file_lacks_is_measured(rows, tmp_path, fast):
    path, some = tmp_path / "times.json", rows[:2]
    assert measure.measure(some, path).by_key.keys() == {row.key for row in some}
    fast.clear()
    kept = measure.measure(rows, path)
    assert len(kept.by_key) == len({row.key for row in rows})
    assert fast[0] == measure.REFERENCE
    assert [one[:2] for one in fast[1:]] == [(row.model, row.size) for row in rows[2:]]
    fast.clear()
    assert measure.measure(rows, path).to_json() == json.loads(path.read_text()) and not fast
    assert kept.by_key[row_of(rows, "lpn_50", 17).key].rounds == 2  # with and without flip test


def test_times_of_another_machine_are_not_mixed_with_those_of_this(rows, tmp_path, fast):
    path = tmp_path / "times.json"
    measure.measure(rows[:1], path)
    path.write_text(path.read_text().replace(measure._machine(), "another"))
    assert measure.measure(rows[:1], path).machine == "another"  # nothing is lacking
    with pytest.raises(SettingError, match="measured on another, and lacks"):
        measure.measure(rows, path)


@pytest.mark.parametrize("content", ["", "[]", '{"latencies": {"a": {"ratio": 1}}, "machine": "x", "load": 1}'])
def test_a_file_that_holds_no_measurements_is_refused(content, rows, tmp_path):
    path = tmp_path / "times.json"
    path.write_text(content)
    with pytest.raises(SettingError, match="holds no measurements of ours"):
        measure.measure(rows, path)
    assert path.read_text() == content


def litepose(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_the_command_writes_page_numbers_and_figures(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(models, "names", lambda: ["lpn_50"])
    out = tmp_path / "results.md"
    assert litepose("info", "--all", "--markdown", "-o", out, "--figures", tmp_path, "--json", tmp_path / "a.json") == 0
    assert "| lpn_152 | 192x256 |" in out.read_text() and "](ap-over-macs.svg)" in out.read_text()
    report = json.loads((tmp_path / "a.json").read_text())
    assert [one["model"] for one in report["networks"]].count("lpn_50") == 2
    assert report["measured"]["latencies"] == {}
    assert litepose("info", "--all") == 0
    assert "lpn_101" in capsys.readouterr().out
    assert litepose("info", "--all", "--markdown") == 0
    assert capsys.readouterr().out.startswith("# Published results")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "Name a network"),
        (("litepose_xs", "--all"), "leave out MODEL"),
        (("--all", "--size", "64x64"), "leave out MODEL"),
        (("litepose_xs", "--markdown"), "take --all"),
        (("--all", "-o", "page.md"), "add --markdown"),
    ],
)
def test_options_that_do_not_go_together_are_one_message(arguments, words, capsys):
    assert litepose("info", *arguments) == 2
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.skipif(not (ROOT / "docs" / "results.md").exists(), reason="no docs here")
def test_the_page_in_docs_has_every_row_and_its_figures():
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    lacking = [
        model
        for family in FAMILIES
        for model, _, (width, height), _ in entries(family)
        if f"| {model} | {width}x{height} |" not in text.replace("* |", " |")
    ]
    command = "litepose info --all --markdown -o docs/results.md --measure docs/latencies.json --figures docs/images"
    assert not lacking, f"write it anew: {command}"
    for figure in (AP_OVER_MACS, AP_OVER_SPEED):
        assert f"](images/{figure.name})" in text
        assert (ROOT / "docs" / "images" / figure.name).stat().st_size < 100_000
