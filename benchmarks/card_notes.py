"""What is written by hand for a model card: a file of a few sections, which says for which weights it was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from litepose.errors import SettingError

SECTIONS = ("In short", "Training", "Looked at", "Known failures")
WRITTEN_FOR = re.compile(r"<!-- weights: ([0-9a-f]{8,64}) -->\s*")


@dataclass(frozen=True)
class Notes:
    """What somebody wrote by hand: text by section. written_for: begin of the sha256 of those weights."""

    sections: Mapping[str, str]
    written_for: str


def read_notes(path: Path) -> Notes | None:
    """Read a notes file; None where there is none. Raises SettingError for one that is not made of SECTIONS."""
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    head = WRITTEN_FOR.match(text)
    names = re.findall(r"^## (.*)$", text, flags=re.M)
    if head is None or not set(names) <= set(SECTIONS):
        raise SettingError(
            f"{path} was to be put into a card; its headings are {names}. It begins with a line <!-- weights: SHA --> "
            f"(what weights_sha256 begins with) and has some of {', '.join('## ' + name for name in SECTIONS)}."
        )
    parts = re.split(r"^## .*$", text[head.end() :], flags=re.M)[1:]
    return Notes(dict(zip(names, (part.strip() for part in parts), strict=True)), head[1])
