"""`litepose info` and `litepose convert`, as a user calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from litepose import checkpoints, cli, models
from litepose.counting import count, rule_of
from litepose.export import export_onnx
from litepose.models.litepose import uniform_arch
from litepose.skeleton import COCO17, CROWDPOSE14
from official_litepose import authors_name
from tiny_model import tiny_network, write_tiny_checkpoint

TINY = uniform_arch(64, 8, (8, 8, 8, 8), (8, 8, 8))


def litepose(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


def test_info_prints_parameters_and_three_counts(capsys, tmp_path):
    assert litepose("info", "litepose_xs", "--skeleton", "crowdpose14", "--json", tmp_path / "xs.json") == 0
    printed = capsys.readouterr().out
    for number in ("1,675,552", "882,892,800", "1,203,593,216", "1,200,000,000"):
        assert number in printed
    assert json.loads((tmp_path / "xs.json").read_text()) == {
        "model": "litepose_xs",
        "skeleton": "crowdpose14",
        "size": [256, 256],
        "params": 1_675_552,
        "macs": 882_892_800,
        "macs_reference": 1_203_593_216,
        "macs_rule": "litepose",
        "macs_published": 1_200_000_000,
        "published": {
            "size": [256, 256],
            "data": "CrowdPose test",
            "AP": 0.495,
            "latency_ms": {"Jetson Nano": 22, "Snapdragon 855": 27, "Raspberry Pi 4B+": 109},
        },
        "provenance": {},
    }


def test_info_takes_size_skeleton_and_arch(tmp_path):
    arch = tmp_path / "tiny.json"
    arch.write_text(json.dumps(TINY))
    assert litepose("info", "litepose_xs", "--arch", arch, "--json", tmp_path / "a.json") == 0
    assert litepose("info", "litepose_xs", "--arch", arch, "--size", "128x64", "--json", tmp_path / "b.json") == 0
    small, wide = (json.loads((tmp_path / name).read_text()) for name in ("a.json", "b.json"))
    assert (small["size"], wide["size"]) == ([64, 64], [128, 64])
    assert small["skeleton"] == "coco17"
    assert wide["macs"] == 2 * small["macs"]
    assert wide["params"] == small["params"] < 200_000
    assert small["macs_published"] is None and small["published"] == {}  # another arch than the printed one


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ("--size", "192x256"),
            ("198,626,688", "215,202,112 = 205.2 M", "215,167,795 = 205.2 M", "(at 192x256)", "0.648"),
        ),
        (
            ("--size", "288x384"),
            ("446,778,048", "483,984,112 = 461.6 M", "= 461.6 M (M = 2^20)", "(at 288x384)", "0.676"),
        ),
        (
            ("--size", "256x256", "--skeleton", "mpii16"),
            ("264,636,544", "286,710,400 = 273.4 M", "= 273.4 M (M = 2^20)", "(at 256x256)", "MPII val", "0.854"),
        ),
    ],
)
def test_info_picks_the_printed_figures_by_skeleton_and_size(arguments, wanted, capsys):
    assert litepose("info", "litehrnet_18", *arguments) == 0
    printed = capsys.readouterr().out
    for number in wanted:
        assert number in printed


def test_info_prints_no_figures_of_another_size_or_shape(tmp_path):
    assert litepose("info", "litehrnet_18", "--size", "128x128", "--json", tmp_path / "a.json") == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["macs_rule"] == "torchstat"
    assert report["macs_published"] is None and report["published"] == {}
    spec = checkpoints.default_spec("litehrnet_18", COCO17, channels=16)
    path = checkpoints.save(tmp_path / "s.safetensors", checkpoints.build_network(spec).state_dict(), spec)
    assert litepose("info", path, "--json", tmp_path / "b.json") == 0
    assert json.loads((tmp_path / "b.json").read_text())["published"] == {}


def test_info_lists_layers(capsys):
    assert litepose("info", "litepose_xs", "--layers") == 0
    printed = capsys.readouterr().out
    assert printed.count("ConvTranspose2d") == 6
    assert "128x128x32" not in printed and "32x128x128" in printed
    parts = [line.split() for line in printed[printed.rindex(" part ") :].splitlines()[1:]]
    assert [part[0] for part in parts if part] == [
        *(f"stem.{i}" for i in range(3)), *(f"stages.{i}" for i in range(4)), "deconvs.0", "deconvs.1", "heads.0",
        "deconvs.2", "heads.1",
    ]  # fmt: skip
    assert sum(int(part[-3].replace(",", "")) for part in parts if part) == 1_675_912
    assert sum(int(part[-2].replace(",", "")) for part in parts if part) == 885_841_920


def test_info_of_a_checkpoint_shows_its_provenance(capsys, tmp_path):
    spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14, arch=TINY).with_provenance(recipe="smoke")
    path = checkpoints.save(tmp_path / "t.safetensors", checkpoints.build_network(spec).state_dict(), spec)
    assert litepose("info", path, "--json", tmp_path / "t.json") == 0
    assert "smoke" in capsys.readouterr().out
    report = json.loads((tmp_path / "t.json").read_text())
    assert report["provenance"] == {"recipe": "smoke"}
    assert (report["skeleton"], report["size"]) == ("crowdpose14", [64, 64])
    assert litepose("info", path, "--skeleton", "coco17") == 2
    assert "its own skeleton" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("litepose_xss",), "Did you mean 'litepose_xs'"),
        (("absent.safetensors",), "No checkpoint"),
        (("absent.onnx",), "absent.onnx"),
        (("litepose_xs", "--skeleton", "coco71"), "coco17"),
        (("litepose_xs", "--size", "100x100"), "multiples of 16"),
        (("litepose_xs", "--size", "big"), "WIDTHxHEIGHT"),
        (("litepose_xs", "--arch", "absent.json"), "No architecture file"),
    ],
)
def test_info_answers_mistakes_with_one_message(arguments, words, capsys):
    assert litepose("info", *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("litepose: ") and words in error
    assert "Traceback" not in error


@pytest.fixture
def official_file(tmp_path) -> Path:
    """A LitePose-XS for COCO as the authors' training script leaves it."""
    state = models.build("litepose_xs", num_keypoints=17, arch=TINY).state_dict()
    path = tmp_path / "checkpoint.pth.tar"
    torch.save({"state_dict": {f"module.{authors_name(n)}": t for n, t in state.items()}, "epoch": 500}, path)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    return path


def test_convert_writes_a_checkpoint_that_is_a_whole_model(official_file, capsys, tmp_path):
    output = tmp_path / "out" / "xs.safetensors"
    arguments = ("--model", "litepose_xs", "--skeleton", "coco17", "--arch", tmp_path / "tiny.json", "-o", output)
    assert litepose("convert", official_file, *arguments) == 0
    assert str(output) in capsys.readouterr().out
    network, spec = checkpoints.load_network(output)
    assert spec.skeleton == COCO17
    assert (spec.provenance["source"], spec.provenance["colour"]) == ("official", "RGB")
    saved = torch.load(official_file, weights_only=True)["state_dict"]
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, saved[f"module.{authors_name(name)}"])


def test_convert_reads_a_skeleton_file(official_file, tmp_path):
    (tmp_path / "my.json").write_text(json.dumps({**COCO17.to_json(), "name": "mine"}))
    output = tmp_path / "xs.safetensors"
    arguments = ("--model", "litepose_xs", "--skeleton", tmp_path / "my.json", "--arch", tmp_path / "tiny.json")
    assert litepose("convert", official_file, *arguments, "--source", "mmpose", "-o", output) == 0
    _, spec = checkpoints.load(output)
    assert (spec.skeleton.name, spec.provenance["source"]) == ("mine", "mmpose")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--skeleton", "crowdpose14"), "of another shape"),
        (("--skeleton", "coco17", "--model", "litepose_q"), "litepose_xs"),
        (("--skeleton", "coco17", "--source", "mmlab"), "mmpose"),
        (("--skeleton", "coco17", "--arch", "absent.json"), "No architecture file"),
        (("--skeleton", "coco17", "-o", "out.onnx"), "must end in .safetensors"),
    ],
)
def test_convert_answers_mistakes_with_one_message_and_writes_nothing(
    arguments, words, official_file, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    defaults = {"--model": "litepose_xs", "--arch": "tiny.json", "-o": "out.safetensors"}
    given = dict(zip(arguments[::2], arguments[1::2], strict=True))
    before = set(tmp_path.iterdir())
    assert litepose("convert", official_file, *(p for pair in {**defaults, **given}.items() for p in pair)) == 2
    error = capsys.readouterr().err
    assert error.startswith("litepose: ") and words in error
    assert set(tmp_path.iterdir()) == before


def test_convert_makes_a_checkpoint_of_an_exported_file(capsys, tmp_path):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    exported, again = tmp_path / "tiny.onnx", tmp_path / "again.safetensors"
    assert litepose("export", checkpoint, "-o", exported, "--trainable", "--half-weights") == 0
    assert litepose("convert", exported, "-o", again) == 0
    assert "again.safetensors: litepose_xs, coco17" in capsys.readouterr().out.replace("\n", "")
    (before, spec), (after, unfolded) = checkpoints.load(checkpoint), checkpoints.load(again)
    assert (unfolded.skeleton, unfolded.codec, unfolded.network) == (spec.skeleton, spec.codec, spec.network)
    for name, tensor in before.items():
        if not name.endswith("running_mean"):  # see tests/test_unfolding.py
            assert torch.allclose(after[name], tensor, rtol=0, atol=2e-3 * float(tensor.abs().max())), name


def test_convert_makes_a_checkpoint_of_a_shipped_model(tmp_path):
    assert litepose("convert", "litepose_xs", "-o", tmp_path / "xs.safetensors") == 0
    _, spec = checkpoints.load_network(tmp_path / "xs.safetensors")
    assert spec.model == "litepose_xs" and spec.provenance["licence"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tiny.onnx",), "folded into the convolutions"),
        (("tiny.onnx", "-m", "litepose_xs", "--source", "mmpose"), "was given --model, --source"),
        (("gone.onnx",), "no model file gone.onnx"),
        (("tiny.pth", "-m", "litepose_xs"), "needs --skeleton"),
        (("tiny.pth",), "needs --model and --skeleton"),
    ],
)
def test_convert_says_what_an_exported_file_lacks(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_onnx(*tiny_network(), tmp_path / "tiny.onnx")
    assert litepose("convert", *arguments, "-o", "out.safetensors") == 2
    error = capsys.readouterr().err
    assert error.startswith("litepose: ") and words in error
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]


def printed_macs() -> Iterator[tuple[str, int, tuple[int, int], int]]:
    """Yield (variant, keypoints, size, MACs) of every printed figure of every family."""
    for name in models.names():
        family = models.family_of(name)
        for num_keypoints, figures in getattr(family, "PUBLISHED", {}).get(name, {}).items():
            for size, of_size in figures.get("sizes", {family.DEFAULT.sizes[name]: figures}).items():
                if "macs" in of_size:
                    yield name, num_keypoints, size, of_size["macs"]


@pytest.mark.parametrize(("name", "num_keypoints", "size", "macs"), list(printed_macs()))
def test_published_macs_come_out_of_the_reference_rule(name, num_keypoints, size, macs):
    """The printed figures agree with our count by the authors' rule, within their own rounding (some cut digits)."""
    with torch.device("meta"):
        network = models.build(name, num_keypoints=num_keypoints)
    assert count(network, size, rule=rule_of(name)).macs_reference == pytest.approx(macs, rel=0.035)


def test_info_prints_provenance_as_lines_and_keeps_the_whole_in_its_json():
    from litepose.commands.info import _readable

    assert _readable({"AP": 0.123456, "AR": None}) == "AP 0.1235, AR -"
    assert _readable(["val/people.json", "synthetic-3"]) == "val/people.json, synthetic-3"
    assert _readable({"run": {"epochs": 3}}) == "(see --json)"
