"""benchmarks/arm_check.py: what it asks of apt and pip, how outputs compare, what it says; if prepared, it runs."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from litepose import load
from litepose.errors import MissingPackageError, ModelError, SettingError

ROOT = Path(__file__).parents[1]
PREPARED = os.environ.get("LITEPOSE_ARM")


@pytest.fixture
def arm(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import arm_check

    yield arm_check
    for name in ("arm_check", "arm_guest"):
        sys.modules.pop(name, None)


def outputs(**changed):
    """Return two outputs, the largest number of which is 4."""
    return {"0/heatmaps": np.array([[0.5, 1.0]]), "0/tags": np.array([[-4.0, 2.0]])} | changed


def test_the_difference_is_that_of_the_worst_output_relative_to_the_largest_number(arm):
    assert arm.largest_difference(outputs(), outputs()) == 0
    assert arm.largest_difference(outputs(), outputs(**{"0/heatmaps": np.array([[0.5, 1.2]])})) == pytest.approx(0.05)


@pytest.mark.parametrize("wrong", [np.array([[0.5, np.nan]]), np.array([[0.5]])])
def test_numbers_that_are_none_and_other_shapes_differ_without_end(arm, wrong):
    assert arm.largest_difference(outputs(), outputs(**{"0/heatmaps": wrong})) == np.inf


def test_outputs_of_other_names_are_an_error(arm):
    with pytest.raises(ModelError, match="under the emulator"):
        arm.largest_difference(outputs(), {"0/heatmaps": np.zeros((1, 2))})


def test_another_version_of_a_wheel_may_be_asked_for(arm):
    assert arm.chosen_wheels(Path("a.onnx"), ["onnxruntime==9.9", "ncnn==1.0"]) == ("numpy==2.4.6", "onnxruntime==9.9")
    assert arm.chosen_wheels(Path("a.ncnn.param"), [])[1].startswith("ncnn==")


def test_wheels_without_a_version_or_of_other_packages_and_files_of_other_engines_are_refused(arm):
    for wrong in ("onnxruntime", "onnxruntime=1", "torch==2"):
        with pytest.raises(SettingError, match=f"NAME==VERSION.*{wrong!r}"):
            arm.chosen_wheels(Path("a.onnx"), [wrong])
    with pytest.raises(ModelError, match=r"\.onnx or \.param"):
        arm.chosen_wheels(Path("a.xml"), [])


def test_apt_writes_below_the_folder_alone(arm, tmp_path):
    settings = arm.apt_options(tmp_path, "arm64")[1::2]
    assert {one for one in settings if one.startswith("Dir::")} == {
        f"Dir::State={tmp_path}/state",
        f"Dir::State::status={tmp_path}/state/status",
        f"Dir::Cache={tmp_path}/cache",
    }
    assert "APT::Architecture=arm64" in settings


def test_pip_is_asked_for_wheels_of_the_emulated_python(arm, tmp_path):
    for name in ("python3", "python3.11", "python3.11-config"):
        (tmp_path / "usr/bin").mkdir(parents=True, exist_ok=True)
        (tmp_path / "usr/bin" / name).touch()
    assert arm.python_of(tmp_path).name == "python3.11"
    options = arm.wheel_options("3.11")
    assert options[options.index("--python-version") + 1] == "3.11"
    assert "manylinux2014_aarch64" in options


def test_a_system_without_apt_is_told_what_to_use(arm, monkeypatch):
    monkeypatch.setattr(arm.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(arm.shutil, "which", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"no apt-get and no dpkg-deb .* container"):
        arm.check_host()
    monkeypatch.setattr(arm.platform, "machine", lambda: "aarch64")
    with pytest.raises(SettingError, match="litepose doctor"):
        arm.check_host()


def test_a_failure_says_how_what_helps_and_the_last_lines(arm):
    assert arm.failure("xs under qemu", -11, "", "Try X.") == "xs under qemu was ended by SIGSEGV. Try X."
    said = arm.failure("apt", 100, "\n".join(f"line {number}" for number in range(9)), "Try Y.")
    assert said.startswith("apt failed with code 100. Try Y.\n    line 3\n") and said.endswith("line 8")


@pytest.mark.parametrize(("wrong", "code", "verdict"), [(0.0, 0, "the same"), (0.01, 1, "DIFFERS")])
def test_the_guest_computes_as_litepose_does_and_a_wrong_output_gives_code_1(
    arm, monkeypatch, tmp_path, capsys, wrong, code, verdict
):
    """The guest's program runs on this machine, in place of the emulator."""

    def here(path, inputs, names, *_):
        import arm_guest

        given, found = tmp_path / "inputs.npz", tmp_path / "outputs.npz"
        np.savez(given, **{str(place): batch for place, batch in enumerate(inputs)})
        arm_guest.main(str(path), str(given), str(found), *names)
        computed = np.load(found)
        return {name: computed[name] * (1 + wrong) for name in computed.files}

    monkeypatch.setattr(arm, "on_arm", here)
    for name in ("check_host", "emulator_in", "python_in", "python_of", "packages_in"):
        monkeypatch.setattr(arm, name, lambda *_: Path("python3.11"))
    picture = str(ROOT / "examples/astronaut.jpg")
    assert arm.main(["litepose_xs", "-o", str(tmp_path), "--pictures", picture]) == code
    assert verdict in capsys.readouterr().out


@pytest.mark.parametrize(("provenance", "code"), [({}, 1), ({"quantized": {"layers": 108}}, 0)])
def test_a_file_with_int8_layers_may_differ_more(arm, monkeypatch, tmp_path, provenance, code):
    model = load("litepose_xs", threads=1)
    model.spec = dataclasses.replace(model.spec, provenance=provenance)
    monkeypatch.setattr(arm, "load", lambda *_, **__: model)
    for name in ("check_host", "emulator_in", "python_in", "python_of", "packages_in"):
        monkeypatch.setattr(arm, name, lambda *_: Path("python3.11"))

    def carried_on(_, inputs, names, *__):
        outputs = [model.runtime(batch) for batch in inputs]
        return {
            f"{place}/{name}": one + 0.08 * np.abs(one).max() * (one == one.max())
            for place, batch in enumerate(outputs)
            for name, one in zip(names, batch, strict=True)
        }

    monkeypatch.setattr(arm, "on_arm", carried_on)
    picture = str(ROOT / "examples/astronaut.jpg")
    assert arm.main(["litepose_xs", "-o", str(tmp_path), "--pictures", picture]) == code


def test_a_top_down_model_gets_the_whole_picture(arm):
    batch = arm.prepared(load("lpn_50", threads=1), ROOT / "examples/astronaut.jpg")
    width, height = load("lpn_50", threads=1).size
    assert batch.shape == (1, 3, height, width) and batch.std() > 0.5  # a picture, normalised


@pytest.mark.slow
@pytest.mark.skipif(not PREPARED, reason="LITEPOSE_ARM names no folder that benchmarks/arm_check.py -o has prepared")
def test_litepose_xs_computes_the_same_on_an_emulated_arm():
    command = [sys.executable, ROOT / "benchmarks/arm_check.py", "litepose_xs", "-o", PREPARED]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the same" in done.stdout
