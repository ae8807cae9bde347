"""`litepose extract` as a user calls it, and what a supernet's file says where a network is wanted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints, cli  # noqa: E402
from tiny_model import write_tiny_checkpoint  # noqa: E402
from tiny_supernet import SPACE, tiny_supernet  # noqa: E402

PICTURES = "synthetic:people=1-2,seed=1,size=64,length=8"


def litepose(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return int(stopped.value.code or 0)


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """A folder with super.safetensors and small.json."""
    torch.set_num_threads(1)
    whole = tiny_supernet()
    checkpoints.save(tmp_path / "super.safetensors", whole.network.state_dict(), whole.spec)
    (tmp_path / "small.json").write_text(json.dumps(SPACE.smallest()))
    return tmp_path


def extract(desk: Path, *more: object) -> int:
    return litepose(
        "extract", desk / "super.safetensors", "--arch", desk / "small.json", "-o", desk / "cut.safetensors", *more
    )


def test_a_network_is_cut_out_exactly(desk, capsys):
    assert extract(desk) == 0
    said = capsys.readouterr().out
    network, spec = checkpoints.load_network(desk / "cut.safetensors")
    wanted, _ = tiny_supernet().extract(SPACE.smallest())
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in network.state_dict().items())
    assert f"{sum(p.numel() for p in network.parameters()):,} parameters, input 64x64" in said
    assert "--recalibrate" in said
    assert spec.provenance["cut_from"] == "super.safetensors" and "recalibrated" not in spec.provenance


def test_statistics_are_measured_on_pictures_and_nothing_else_changes(desk, capsys):
    assert extract(desk, "--recalibrate", PICTURES, "--batches", 2) == 0
    assert "measured on 32 pictures" in capsys.readouterr().out
    state, spec = checkpoints.load(desk / "cut.safetensors")
    before, _ = tiny_supernet().extract(SPACE.smallest())
    changed = {name for name in state if not torch.equal(state[name], before[name])}
    statistics = {
        name for name in state if name.rsplit(".", 1)[1] in ("running_mean", "running_var", "num_batches_tracked")
    }
    assert changed == statistics
    assert spec.provenance["recalibrated"]["pictures"] == 32


def test_what_is_cut_out_finds_people_and_is_exported(desk, capsys):
    assert extract(desk, "--recalibrate", PICTURES, "--batches", 1) == 0
    assert litepose("export", desk / "cut.safetensors", "-o", desk / "cut.onnx") == 0
    assert (desk / "cut.onnx").stat().st_size > 10_000


@pytest.mark.parametrize("command", ["predict", "eval", "export"])
def test_a_supernet_where_a_network_is_wanted_is_one_error_that_names_the_command(desk, capsys, command):
    arguments = {
        "predict": ["predict", "examples/scene.jpg", "-m", desk / "super.safetensors", "-o", desk / "found"],
        "eval": ["eval", "-m", desk / "super.safetensors", "--data", PICTURES],
        "export": ["export", desk / "super.safetensors", "-o", desk / "super.onnx"],
    }
    assert litepose(*arguments[command]) == 2
    said = capsys.readouterr().err
    assert said.count("litepose: ") == 1 and "litepose extract" in said
    assert not (desk / "super.onnx").exists()


def test_a_network_where_a_supernet_is_wanted_is_one_error(desk, capsys):
    one = write_tiny_checkpoint(desk / "one.safetensors")
    assert litepose("extract", one, "--arch", desk / "small.json", "-o", desk / "cut.safetensors") == 2
    assert "holds one network" in capsys.readouterr().err
    assert not (desk / "cut.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"img_size": 80}, "Possible there: 64, 96"),
        ({"input_channel": 20}, "Possible there: 8, 16"),
        ({"backbone_setting": []}, "4 stages"),
        ({"depth": 3}, "no field 'depth'"),
    ],
)
def test_an_arch_file_that_does_not_fit_is_one_error(desk, capsys, change, message):
    (desk / "small.json").write_text(json.dumps({**SPACE.smallest(), **change}))
    assert extract(desk) == 2
    assert message in capsys.readouterr().err
    assert not (desk / "cut.safetensors").exists()


def test_options_that_make_no_sense_are_refused(desk, capsys):
    assert extract(desk, "--images", desk) == 2
    assert "--recalibrate" in capsys.readouterr().err
    arguments = ("extract", desk / "super.safetensors", "--arch", desk / "small.json", "-o", desk / "cut.onnx")
    assert litepose(*arguments) == 2
    assert "must end in .safetensors" in capsys.readouterr().err
    assert extract(desk, "--recalibrate", desk / "absent.json") == 2
    assert not (desk / "cut.safetensors").exists()
