"""Malformed and hostile files: none is executed, hangs or fills the memory, and each gets one clear error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import litepose  # noqa: E402
from dot_model import write_dot_model  # noqa: E402
from hostile_files import hostile_files, write  # noqa: E402
from hostile_single import CANARY  # noqa: E402
from litepose import checkpoints, models  # noqa: E402
from litepose.models.litepose import uniform_arch  # noqa: E402
from litepose.skeleton import CROWDPOSE14  # noqa: E402
from official_litepose import authors_name  # noqa: E402
from pickle_writing import pickled, reduce, text  # noqa: E402

SEED = 20240607
MAX_MEGABYTES = 300  # above what the process took before the first file
MAX_MESSAGE = 4000
HERE = Path(__file__).parent


def good_files(folder: Path) -> dict[str, bytes]:
    """Whole checkpoints of a tiny LitePose, which the broken ones are made of."""
    arch = uniform_arch(64, 8, (8, 8, 8, 8), (8, 8, 8))
    network = models.build("litepose_xs", num_keypoints=14, arch=arch)
    official = {authors_name(name): tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": official, "epoch": 3}, folder / "good.pth")
    torch.save(official, folder / "good.pth.tar", _use_new_zipfile_serialization=False)
    torch.save({"some.layer": torch.zeros(3)}, folder / "warm.pth")
    spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14, arch=arch)
    checkpoints.save(folder / "good.safetensors", network.state_dict(), spec)
    write_dot_model(folder / "good.onnx")
    suffixes = {"zip": "pth", "legacy": "pth.tar", "safetensors": "safetensors", "onnx": "onnx"}
    return {kind: (folder / f"good.{suffix}").read_bytes() for kind, suffix in suffixes.items()}


def opened(folder: Path, *, seed: int, rounds: int, seconds: int) -> tuple[list[dict[str, Any]], Any, dict[str, bool]]:
    """Write the files, open them in a watched process; return (what came of each, what was seen, name -> must fail)."""
    fails = {}
    for file in hostile_files(seed, rounds, good_files(folder)):
        assert file.name not in fails, file.name
        fails[file.name] = file.fails
        write(folder, file)
    return *watched(folder, fails, seconds=seconds), fails


def watched(folder: Path, fails: dict[str, bool], *more: str, seconds: int) -> tuple[list[dict[str, Any]], Any]:
    """Open the files of a folder in a watched process; return (what came of each, what was seen)."""
    (folder / "files.json").write_text(json.dumps(list(fails.items())))
    command = [sys.executable, str(HERE / "watched_opening.py"), str(folder), str(folder / "report.json"), *more]
    source = {**os.environ, "PYTHONPATH": str(Path(litepose.__file__).parents[1])}
    done = subprocess.run(command, cwd=folder, env=source, timeout=seconds, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    report = json.loads((folder / "report.json").read_text())
    return report["results"], report["seen"]


def check(folder: Path, results: list[dict[str, Any]], fails: dict[str, bool], seen: Any) -> None:
    assert not seen, "a file made Python do something"
    assert not (folder / CANARY).exists()
    assert not list(folder.glob("**/escaped")) and not (folder.parent.parent / "escaped").exists()
    assert len(results) == len(fails)
    for found in results:
        name = found["name"]
        assert "convert broke" not in found and "inspect broke" not in found, found
        assert found["convert"] is not None or not fails[name], f"{name} came in"
        for said in (found["convert"], found["inspect"]):
            if said is not None:
                assert name in said and len(said) < MAX_MESSAGE and "\x1b" not in said and "\n" not in said, (
                    name,
                    said,
                )
    assert max(found["peak_mb"] for found in results) < MAX_MEGABYTES


def test_hostile_files_execute_nothing_never_hang_and_get_one_clear_error(tmp_path):
    results, seen, fails = opened(tmp_path, seed=SEED, rounds=1, seconds=120)
    assert len(fails) >= 200
    check(tmp_path, results, fails, seen)
    assert sum(found["convert"] is not None for found in results) > 200


def test_the_watch_sees_what_a_careless_reader_would_do(tmp_path):
    (tmp_path / "evil.pth").write_bytes(pickled(reduce("os", "system", text(f"touch {CANARY}"))))
    _, seen = watched(tmp_path, {"evil.pth": True}, "careless", seconds=120)
    assert "os.system" in {event for _, event, _ in seen}
    assert (tmp_path / CANARY).exists()


def test_whole_files_come_in_where_hostile_ones_are_refused(tmp_path):
    good = good_files(tmp_path)
    arch = uniform_arch(64, 8, (8, 8, 8, 8), (8, 8, 8))
    for name in ("good.pth", "good.pth.tar"):
        checkpoints.import_official(tmp_path / name, "litepose_xs", CROWDPOSE14, arch=arch)
    assert len(good) == 4


@pytest.mark.slow
def test_many_hostile_files_execute_nothing(tmp_path):
    results, seen, fails = opened(tmp_path, seed=SEED + 1, rounds=12, seconds=1200)
    assert len(fails) > 1500
    check(tmp_path, results, fails, seen)
