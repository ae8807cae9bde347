"""The README keeps what it says: its commands and its Python run, its table and its files are true."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from litepose import cli, weights

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEFAULT_SHIPS = weights.DEFAULT in weights.names()
# What makes a command of the README quick; nothing else of it is changed.
SHORTER = {
    "train": ["model.size=[64,64]", "run.epochs=1", "run.epoch_samples=4", "run.batch=2", "run.workers=0",
              "run.threads=1", "data.validation.limit=2"],
    "eval": ["--limit", "2", "--threads", "1"],
    "bench": ["--repeat", "1"],
}  # fmt: skip


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Path:
    """A folder with photo.jpg, in which the README's commands follow one another."""
    folder = tmp_path_factory.mktemp("desk")
    shutil.copy(ROOT / "examples" / "astronaut.jpg", folder / "photo.jpg")
    return folder


def shortened(command: str) -> list[str]:
    words = shlex.split(command)
    extra = SHORTER.get(words[1], [])
    return [*words, *(part for change in extra for part in ("--set", change))] if words[1] == "train" else words + extra


def test_the_commands_run_in_their_order(desk, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(desk)
    done = []
    for command in commands():
        if command.startswith("pip install"):
            continue
        assert command.startswith("litepose "), command
        needs_default = "litepose_xs" in shlex.split(command)[2:] or ("predict" in command and "-m" not in command)
        if needs_default and "info" not in command and not DEFAULT_SHIPS:
            continue
        with pytest.raises(SystemExit) as stop:
            cli.main(shortened(command)[1:])
        assert stop.value.code == 0, command
        done.append(command.split()[1])
    assert {"train", "eval", "export", "info"} <= set(done)
    assert (desk / "first.onnx").stat().st_size > 1_000_000
    assert (desk / "people" / "photo.jpg").stat().st_size > 10_000


@pytest.mark.skipif(not DEFAULT_SHIPS, reason="this checkout has no weights in src/litepose/weights")
def test_the_python_runs_and_finds_the_astronaut(desk, monkeypatch, capsys):
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    monkeypatch.chdir(desk)
    exec(compile(code, "README.md", "exec"), {})
    assert "left_shoulder" in capsys.readouterr().out


def test_the_table_of_networks_is_what_info_counts():
    torch = pytest.importorskip("torch")
    from litepose import checkpoints, counting, models
    from litepose.skeleton import COCO17

    families = "|".join(models.families())
    numbers = r" \| ([\d,]+)" * 3
    rows = re.findall(rf"^\| ((?:{families})_\w+) \| (\d+)x(\d+){numbers} \|", README, flags=re.M)
    assert [row[0] for row in rows]
    networks = {name for name in models.names() if not models.family_of(name).NETWORK.is_supernet}
    assert {row[0] for row in rows} == networks
    for name, width, height, *numbers in rows:
        spec = checkpoints.default_spec(name, COCO17)
        assert spec.input.size == (int(width), int(height))
        with torch.device("meta"):
            network = checkpoints.build_network(spec)
        counts = counting.count(network, spec.input.size, rule=counting.rule_of(name))
        assert [int(number.replace(",", "")) for number in numbers] == [
            counts.params,
            counts.macs,
            counts.macs_reference,
        ]


def test_named_files_exist():
    for link in re.findall(r"\]\(([^)#]+)\)", README):
        drawn_by_weights = link.startswith("docs/images/") and not DEFAULT_SHIPS  # `make pictures` draws them
        assert drawn_by_weights or (ROOT / link).exists(), link
    tree = blocks("text")[0]
    for line in tree.splitlines()[1:]:
        name = line.split()[0]
        folder = ROOT / "src" / "litepose" if line.startswith("  ") else ROOT
        assert (folder / name).exists(), name


def test_make_targets_that_are_named_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make ([\w-]+)`", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target


def test_it_stays_short():
    assert len(README.splitlines()) <= 250
