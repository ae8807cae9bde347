"""The command line as a whole: verbs, exit codes, version."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import litepose
from coco_files import coco, write
from litepose import cli
from litepose.errors import SettingError

SRC = Path(litepose.__file__).parents[1]


def run_cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(SRC), "NO_COLOR": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "litepose", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)


def test_version_is_printed():
    done = run_cli("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"litepose {litepose.__version__}")


def test_help_names_every_verb():
    text = run_cli("--help").stdout
    assert cli.verbs()
    for verb in cli.verbs():
        assert f" {verb} " in text


@pytest.mark.parametrize("verb", cli.verbs())
def test_every_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([verb, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out) > 100


def test_unknown_verb_and_missing_verb_exit_with_two():
    assert run_cli("predikt").returncode == 2
    assert run_cli().returncode == 2


def test_a_user_mistake_is_one_message_and_exit_code_two(monkeypatch, capsys):
    def broken():
        def app(arguments: object) -> None:
            raise SettingError("--size wants WIDTHxHEIGHT; found '0'.")

        return app

    monkeypatch.setattr(cli, "build_app", broken)
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 2
    assert capsys.readouterr().err == "litepose: --size wants WIDTHxHEIGHT; found '0'.\n"


def test_interruption_exits_with_130(monkeypatch):
    def broken():
        def app(arguments: object) -> None:
            raise KeyboardInterrupt

        return app

    monkeypatch.setattr(cli, "build_app", broken)
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 130


@pytest.mark.parametrize(
    "command",
    [
        "info litepose_xs",
        "convert x.pth -m litepose_xs --skeleton coco17 -o x.safetensors",
        "export x.safetensors -o x.onnx",
        "train litepose_xs_synthetic -o run",
        "eval -m x.safetensors --data synthetic",
        "predict -m x.safetensors x.png",
    ],
)
def test_commands_without_their_optional_packages_say_what_to_install(command, tmp_path):
    for name in ("x.pth", "x.png", "x.safetensors"):
        (tmp_path / name).write_bytes(b"x")
    code = (
        f"import sys; sys.path.insert(0, {str(SRC)!r}); sys.modules.update(dict.fromkeys({sorted(cli.EXTRAS)}))\n"
        f"from litepose.cli import main; main({command.split()})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "pip install 'litepose[" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_missing_module_is_not_explained_away(monkeypatch):
    def broken():
        def app(arguments: object) -> None:
            raise ModuleNotFoundError("No module named 'numpi'", name="numpi")

        return app

    monkeypatch.setattr(cli, "build_app", broken)
    with pytest.raises(ModuleNotFoundError, match="numpi"):
        cli.main([])


def test_a_warning_of_ours_is_one_line_and_said_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(write(tmp_path, coco(1, [])).parent)
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(SystemExit) as stop:
            cli.main(["data", "pack", "people.json", "people.json", "--images", "images", "-o", "packed"])
    assert not stop.value.code and warnings.showwarning is before
    said = [line for line in capsys.readouterr().err.splitlines() if "people.json" in line]
    assert said == ["litepose: warning: people.json: no person has keypoints; all its pictures serve as negatives."]
