"""A stopped evaluation goes on where it was, and several processes share one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dot_model import write_dot_model
from dot_pictures import write_dot_pictures
from litepose import cli, evaluation, predictor
from litepose.distributed import Share, open_share
from litepose.errors import SettingError
from litepose.metrics.found_file import SUFFIX

pytest.importorskip("hotcoco")

COUNT = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    write_dot_pictures(folder / "data", count=COUNT)
    write_dot_model(folder / "dots.onnx")
    return folder


def command(folder: Path, report: Path, *options: str) -> list[str]:
    return ["eval", "-m", str(folder / "dots.onnx"), "--data", str(folder / "data" / "truth.json"), "--threads", "1",
            "--json", str(report), *options]  # fmt: skip


def evaluate(folder: Path, report: Path, *options: str) -> dict:
    with pytest.raises(SystemExit) as stop:
        cli.main(command(folder, report, *options))
    assert not stop.value.code
    return json.loads(report.read_text())


@pytest.fixture
def looked_at(monkeypatch) -> list[str]:
    """Every picture that a predictor looks at, by an entry each; `stop_after` of them end the run."""
    seen: list[str] = []
    original = predictor.Predictor.__call__

    def look(self, picture, boxes=None):
        seen.append("")
        if len(seen) == getattr(look, "stop_after", None):
            raise KeyboardInterrupt
        return original(self, picture, boxes)

    monkeypatch.setattr(predictor.Predictor, "__call__", look)
    return seen


def stop_after(count: int | None) -> None:
    predictor.Predictor.__call__.stop_after = count


def parts(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{SUFFIX}"))


def test_an_interrupted_run_looks_at_no_picture_twice_and_ends_with_the_same_report(folder, tmp_path, looked_at):
    whole = evaluate(folder, tmp_path / "whole.json")
    looked_at.clear()
    stop_after(5)
    with pytest.raises(SystemExit) as stop:
        cli.main(command(folder, tmp_path / "report.json"))
    assert stop.value.code == 130
    assert len(parts(tmp_path)) == 1
    stop_after(None)
    looked_at.clear()
    assert evaluate(folder, tmp_path / "report.json") == whole
    assert len(looked_at) == COUNT - 4
    assert not parts(tmp_path)


def test_a_line_that_a_kill_cut_off_is_looked_at_again(folder, tmp_path, looked_at):
    whole = evaluate(folder, tmp_path / "whole.json")
    looked_at.clear()
    stop_after(5)
    with pytest.raises(SystemExit):
        cli.main(command(folder, tmp_path / "report.json"))
    (part,) = parts(tmp_path)
    part.write_bytes(part.read_bytes()[:-20])
    stop_after(None)
    looked_at.clear()
    assert evaluate(folder, tmp_path / "report.json") == whole
    assert len(looked_at) == COUNT - 3


def test_other_settings_do_not_go_on_from_it_and_leave_it_alone(folder, tmp_path, looked_at):
    stop_after(5)
    with pytest.raises(SystemExit):
        cli.main(command(folder, tmp_path / "report.json"))
    stop_after(None)
    looked_at.clear()
    evaluate(folder, tmp_path / "report.json", "--flip")
    assert len(looked_at) == COUNT
    assert len(parts(tmp_path)) == 1


def test_other_data_under_the_same_name_do_not_go_on_from_it(folder, tmp_path, looked_at):
    write_dot_pictures(tmp_path / "data", count=COUNT, people=1)
    write_dot_model(tmp_path / "dots.onnx")
    stop_after(5)
    with pytest.raises(SystemExit):
        cli.main(command(folder, tmp_path / "report.json"))
    stop_after(None)
    looked_at.clear()
    report = evaluate(tmp_path, tmp_path / "report.json")
    assert (len(looked_at), report["settings"]["people"]) == (COUNT, COUNT)


def test_without_an_output_what_was_found_lies_in_the_cache(folder, tmp_path, looked_at, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = command(folder, tmp_path / "unused")[:-2]
    stop_after(5)
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert len(parts(tmp_path / "litepose" / "evaluation")) == 1
    stop_after(None)
    looked_at.clear()
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert len(looked_at) == COUNT - 4
    assert not parts(tmp_path / "litepose" / "evaluation")


def test_the_truth_of_drawn_people_survives_the_interruption_too(folder, tmp_path, looked_at):
    data = "synthetic:people=1-3,seed=5,length=6,size=128x128"
    arguments = ["eval", "-m", "litepose_xs", "--data", data, "--threads", "1", "--json"]
    with pytest.raises(SystemExit):
        cli.main([*arguments, str(tmp_path / "whole.json")])
    looked_at.clear()
    stop_after(4)
    for _ in range(2):
        with pytest.raises(SystemExit):
            cli.main([*arguments, str(tmp_path / "report.json")])
        stop_after(None)
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads((tmp_path / "whole.json").read_text())


def test_a_killed_process_goes_on_with_what_it_had_found(folder, tmp_path):
    whole = evaluate(folder, tmp_path / "whole.json")
    arguments = [sys.executable, "-m", "litepose", *command(folder, tmp_path / "report.json")]
    process = subprocess.Popen(arguments)
    deadline = time.monotonic() + 60
    while not any(part.read_bytes().count(b"\n") > 3 for part in parts(tmp_path)) and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(parts(tmp_path)) == 1
    assert evaluate(folder, tmp_path / "report.json") == whole


def test_two_processes_share_the_pictures_and_report_what_one_does(folder, tmp_path):
    pytest.importorskip("torch")
    whole = evaluate(folder, tmp_path / "whole.json")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "litepose"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, *command(folder, tmp_path / "report.json")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("24 people in 12 pictures") == 1
    assert json.loads((tmp_path / "report.json").read_text()) == whole
    assert not parts(tmp_path)


def test_the_parts_of_a_share_are_all_pictures_once():
    everybody = [index for rank in range(3) for index in Share(rank, 3).part(10)]
    assert sorted(everybody) == list(range(10))
    assert Share().gathered("mine") == ["mine"]


def test_an_environment_that_names_no_rank_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="RANK='2'"):
        open_share()


def test_what_the_model_and_the_versions_were_is_in_the_report(folder, tmp_path):
    settings = evaluate(folder, tmp_path / "report.json")["settings"]
    assert settings["codec"]["detection_threshold"] == 0.1
    assert len(settings["model_sha256"]) == 64
    assert {"litepose", "numpy", "opencv", "hotcoco"} <= set(settings["versions"])
    assert settings["protocol"] == "coco"
    assert evaluation.PROTOCOLS == ("coco", "crowdpose", "mpii", "pck")
