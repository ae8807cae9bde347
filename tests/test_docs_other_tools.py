"""docs/from-other-tools.md names nothing of ours that does not exist."""

from __future__ import annotations

import dataclasses
import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from litepose.codecs import AECodec, HeatmapCodec

pytest.importorskip("torch")

from litepose import cli
from litepose.losses import LOSSES
from litepose.training.recipe import AugmentSection, DataSection, ModelSection, OptimSection, RunSection

DOCS = Path(__file__).resolve().parents[1] / "docs"
OURS = [line.rstrip(" |").rpartition(" | ")[2] for line in (DOCS / "from-other-tools.md").read_text().splitlines()
        if line.startswith("| ")]  # fmt: skip
SECTIONS = {
    "run": set(RunSection.model_fields),
    "optim": set(OptimSection.model_fields),
    "model": set(ModelSection.model_fields),
    "data": set(DataSection.model_fields),
    "augment": set(AugmentSection.model_fields),
    "codec": {field.name for kind in (AECodec, HeatmapCodec) for field in dataclasses.fields(kind)},
    "loss": {field.name for kind in LOSSES.values() for field in dataclasses.fields(kind)},
}


def test_every_key_of_ours_exists():
    keys = re.findall(r"`\[?(run|optim|model|data|augment|codec|loss)\.(\w+)", "\n".join(OURS))
    assert len(keys) > 40
    unknown = [f"{section}.{key}" for section, key in keys if key not in SECTIONS[section]]
    assert not unknown


def test_every_option_of_ours_exists():
    source = "".join(inspect.getsource(import_module(f"litepose.commands.{name}")) for name in
                     ("options", *cli.verbs()))  # fmt: skip
    torchrun = {"--nproc-per-node"}
    options = set(re.findall(r"--[a-z][a-z-]+", "\n".join(OURS))) - torchrun
    assert len(options) > 12
    missing = [option for option in sorted(options) if f'"{option}"' not in source]
    assert not missing


def test_every_command_of_ours_exists():
    verbs = set(re.findall(r"litepose ([a-z]+)", "\n".join(OURS)))
    assert {"train", "eval", "extract"} <= verbs <= set(cli.verbs())
