"""`litepose compare`: two reports side by side, with an interval for each difference, or why they do not fit."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from dot_model import write_dot_model
from dot_pictures import write_dot_pictures
from litepose import cli

PICTURES = 40


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(["compare", *map(str, arguments)])
    return int(stop.value.code or 0)


def report(hits: np.ndarray, *, ids: list | None = None, of: int = 20, **settings: object) -> dict:
    """A report of the protocol PCK in which so many of 20 keypoints were right in each picture."""
    ids = list(range(len(hits))) if ids is None else ids
    return {
        "protocol": "pck",
        "stats": {"PCK": float(np.mean(hits) / of)},
        "settings": {"model": "dots", "flip": False, "versions": {"numpy": "2.0"}, **settings},
        "per_picture": {"ids": ids, "PCK": {"sum": np.asarray(hits).tolist(), "of": [of] * len(hits)}},
    }


@pytest.fixture
def write(tmp_path):
    def write_one(name: str, content: object) -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_one


def hits(seed: int = 0, more: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(3, 15, PICTURES) + more


def test_equal_reports_show_no_difference(write, capsys):
    assert run(write("a.json", report(hits())), write("b.json", report(hits()))) == 0
    out = capsys.readouterr().out
    assert "+0.000 .. +0.000  no difference shown" in out
    assert "40 pictures, the same for both." in out


def test_the_better_one_is_named_and_settings_that_differ_are_listed(write, capsys):
    first = write("a.json", report(hits()))
    second = write("b.json", report(hits(more=2), flip=True, versions={"numpy": "2.1"}, boxes="gt"))
    assert run(first, second) == 0
    out = capsys.readouterr().out
    assert "+0.100  +0.100 .. +0.100  B is better" in out
    assert "  flip: A False, B True\n  versions.numpy: A 2.0, B 2.1\n  boxes: A -, B gt\n" in out
    assert "model:" not in out
    assert run(second, first) == 0
    assert "-0.100 .. -0.100  A is better" in capsys.readouterr().out


def test_codecs_of_other_kinds_are_named_and_their_settings_are_not_listed(write, capsys):
    ae = report(hits(), codec={"name": "ae", "mode": "fast", "max_people": 30})
    exact = report(hits(), codec={"name": "ae", "mode": "exact", "max_people": 30})
    heatmap = report(hits(), codec={"name": "heatmap", "sigma": 2})
    assert run(write("a.json", ae), write("b.json", exact), write("c.json", heatmap)) == 0
    out = capsys.readouterr().out
    assert "  codec.mode: A fast, B exact\n" in out
    assert "  codec: A ae, C heatmap\n" in out
    assert "sigma" not in out
    assert "max_people" not in out


def test_of_three_reports_each_is_compared_with_the_first_and_a_report_is_written(write, tmp_path):
    paths = [write(f"{n}.json", report(hits(seed, more))) for n, seed, more in ((1, 0, 0), (2, 0, 1), (3, 1, 0))]
    assert run(*paths, "--json", tmp_path / "out.json", "--resamples", "200", "--seed", "3", "--level", "0.9") == 0
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["protocol"] == "pck"
    assert written["settings"] == {
        "method": "paired bootstrap over pictures", "resamples": 200, "seed": 3, "level": 0.9
    }  # fmt: skip
    better, other = written["comparisons"]
    assert better["second"].endswith("2.json")
    assert better["first"] == other["first"]
    assert better["pictures"] == PICTURES
    measure = better["measures"]["PCK"]
    assert measure["difference"] == pytest.approx(0.05)
    assert measure["interval"] == pytest.approx([0.05, 0.05])
    assert (measure["real"], measure["verdict"]) == (True, "B is better")
    low, high = other["measures"]["PCK"]["interval"]
    assert low < 0 < high
    assert other["measures"]["PCK"]["verdict"] == "no difference shown"


def test_few_pictures_are_said_to_be_few(write, capsys):
    assert run(write("a.json", report(hits()[:5])), write("b.json", report(hits()[:5]))) == 0
    assert "5 pictures, the same for both. Below 30 pictures the intervals are too narrow." in capsys.readouterr().out


def test_pictures_that_only_one_has_are_left_out_when_asked(write, capsys):
    first = write("a.json", report(hits(), ids=list(range(PICTURES))))
    second = write("b.json", report(hits()[::-1], ids=[*range(PICTURES + 9, 9, -1)]))
    assert run(first, second) == 2
    assert "40 pictures" in (message := capsys.readouterr().err)
    assert "they share 30" in message
    assert "--shared" in message
    assert run(first, second, "--shared") == 0
    assert "30 pictures, the same for both." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ([1], 'no "protocol" and "stats"'),
        ({"steps": {}}, 'no "protocol" and "stats"'),
        ({"protocol": "pck", "stats": {}}, 'no section "per_picture".*Evaluate again'),
        ({**report(hits()), "per_picture": {"ids": [1]}}, "share 1"),
        ({**report(hits()), "per_picture": {"PCK": {"sum": [1], "of": [1]}}}, "b.json.*KeyError.*Evaluate again"),
        ({**report(hits()), "protocol": "mpii"}, "protocol pck.*by mpii"),
        (report(hits(), ids=[f"{n}.jpg" for n in range(PICTURES)]), "share no picture"),
        (report(hits(), of=21), "different annotations: in 40 of 40 pictures PCK.*20 and 21"),
    ],
)
def test_files_that_cannot_be_compared_are_one_clear_error(write, capsys, content, words):
    assert run(write("a.json", report(hits())), write("b.json", content)) == 2
    message = capsys.readouterr().err
    assert message.startswith("litepose: ")
    assert message.count("\n") == 1
    assert re.search(words, message)


def test_bad_arguments_are_one_clear_error(write, tmp_path, capsys):
    path = write("a.json", report(hits()))
    for arguments, words in [
        ((path,), "1 report given"),
        ((path, tmp_path / "none.json"), "cannot be read: No such file"),
        ((path, tmp_path), "cannot be read"),
        ((path, path, "--level", "95"), "--level wants a number"),
        ((path, path, "--json", tmp_path), "is a folder"),
    ]:
        assert run(*arguments) == 2
        assert words in capsys.readouterr().err


def test_reports_of_eval_are_compared_measure_by_measure(tmp_path, capsys):
    pytest.importorskip("hotcoco")
    write_dot_model(tmp_path / "dots.onnx")
    write_dot_pictures(tmp_path / "data", count=6)
    model = ("-m", tmp_path / "dots.onnx", "--data", tmp_path / "data" / "truth.json", "--threads", "1")
    for name, options in {"a": (), "b": ("--flip",)}.items():
        with pytest.raises(SystemExit) as stop:
            cli.main(list(map(str, ("eval", *model, *options, "--json", tmp_path / f"{name}.json"))))
        assert not stop.value.code
    assert run(tmp_path / "a.json", tmp_path / "b.json", "--json", tmp_path / "out.json") == 0
    assert "  flip: A False, B True\n" in capsys.readouterr().out
    measures = json.loads((tmp_path / "out.json").read_text())["comparisons"][0]["measures"]
    stats = [json.loads((tmp_path / f"{name}.json").read_text())["stats"] for name in "ab"]
    assert list(measures) == ["AP", "AP50", "AP75", "AR", "OKS", "PCK"]
    for name in ("AP", "AP50", "AP75", "AR", "PCK"):
        assert (measures[name]["first"], measures[name]["second"]) == (stats[0][name], stats[1][name])
