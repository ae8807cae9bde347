"""Numbers measured on the reference implementations, and where they lie.

A selection travels with the tests in `tests/parity/data`; the environment variable LITEPOSE_PARITY names a folder
with the complete set. A test whose fixture is in neither is skipped and says so.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SHIPPED = Path(__file__).parent / "data"


def roots() -> list[Path]:
    extra = os.environ.get("LITEPOSE_PARITY")
    return [SHIPPED, *([Path(extra)] if extra else [])]


def cases(topic: str) -> list[str]:
    """Names of the cases of a topic ("ae-decode", "models/litepose") that are at hand, sorted."""
    names = {path.stem for root in roots() for path in (root / topic).glob("*.json")}
    return sorted(names) or ["none-at-hand"]


def load_case(topic: str, case: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return (description, arrays) of one case; skip the test where it is not at hand.

    A fixture made small for the tests holds its layout as JSON text in the .npz, where it is compressed.
    """
    for root in roots():
        description = root / topic / f"{case}.json"
        if description.is_file():
            about = json.loads(description.read_text())
            with np.load(description.with_suffix(".npz"), allow_pickle=False) as file:
                arrays = dict(file)
            if "layout" in arrays:
                about["layout"] = json.loads(str(arrays.pop("layout")))
            return about, arrays
    pytest.skip(f"fixture {topic}/{case} is not at hand; set LITEPOSE_PARITY to the folder of all fixtures")


def file_of(topic: str, name: str) -> Path:
    """Return a file of a topic that belongs to no case; skip the test where it is not at hand."""
    for root in roots():
        if (root / topic / name).is_file():
            return root / topic / name
    pytest.skip(f"fixture {topic}/{name} is not at hand; set LITEPOSE_PARITY to the folder of all fixtures")
