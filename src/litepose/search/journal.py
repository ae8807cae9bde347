"""What a search has evaluated, as JSON lines that outlive it: a killed search reads them and evaluates only the rest.

The first line holds what the results depend on. A line for each network follows, and one for each generation. Nothing
in it depends on time or place, so the journals of a resumed and of an uninterrupted search are equal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from litepose.errors import SettingError
from litepose.files import write_text
from litepose.search.space import arch_key

LONGEST_SHOWN = 60  # characters of a setting in a message


class Journal:
    """The records of one search; a context.

    path: None = in memory only. settings: plain values that a resumed search must share.
    resume: go on where a file is there; without it a file there is an error. Raises SettingError.
    """

    def __init__(self, path: str | Path | None, settings: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = None if path is None else Path(path)
        self._scores: dict[str, dict[str, float]] = {}
        self._generations: set[int] = set()
        self._file: IO[str] | None = None
        if self.path is None:
            return
        if self.path.exists() and not resume:
            raise SettingError(f"{self.path} holds a search. Go on with it by --resume, or choose another folder.")
        records = _read(self.path) if self.path.exists() else []
        if records:
            _check_same(self.path, records[0], settings)
        else:
            records = [{"kind": "search", **settings}]
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in records))
        for record in records[1:]:
            self._remember(record)

    def __enter__(self) -> Journal:
        if self.path is not None:
            self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def scores_of(self, arch: Mapping[str, Any]) -> dict[str, float] | None:
        """Return what was once measured of a network, None where it is new."""
        return self._scores.get(arch_key(arch))

    def add_arch(self, arch: Mapping[str, Any], scores: Mapping[str, float], *, cost: float, generation: int) -> None:
        """Keep what was measured of a new network."""
        self._keep({"kind": "arch", "generation": generation, **scores, "cost": cost, "arch": dict(arch)})

    def add_generation(self, generation: int, values: Mapping[str, Any]) -> None:
        """Keep the summary of a generation, unless it is there."""
        if generation not in self._generations:
            self._keep({"kind": "generation", "generation": generation, **values})

    def _keep(self, record: dict[str, Any]) -> None:
        self._remember(record)
        if self._file is not None:
            self._file.write(json.dumps(_plain(record)) + "\n")
            self._file.flush()

    def _remember(self, record: Mapping[str, Any]) -> None:
        if record["kind"] == "generation":
            self._generations.add(record["generation"])
        elif record["kind"] == "arch":
            scores = {key: record[key] for key in record if key not in ("kind", "generation", "cost", "arch")}
            self._scores[arch_key(record["arch"])] = scores


def read_journal(path: str | Path) -> list[dict[str, Any]]:
    """Return the records of a journal: {"kind": "search"}, then "arch" and "generation". Raises SettingError."""
    path = Path(path)
    if not path.is_file():
        raise SettingError(f"There is no journal of a search {path}. Name the log.jsonl of a search's folder.")
    return _read(path)


def _read(path: Path) -> list[dict[str, Any]]:
    """Return all whole records; what a kill tore off is left out."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and "kind" in record:
            records.append(record)
    if path.stat().st_size and (not records or records[0]["kind"] != "search"):
        raise SettingError(f"{path} is no journal of a search: its first line says nothing of one. Choose another.")
    return records


def _check_same(path: Path, found: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    wanted = json.loads(json.dumps({"kind": "search", **settings}))
    different = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
    if different:
        says = "; ".join(f"{key}: {_short(found.get(key))} there, {_short(wanted.get(key))} asked" for key in different)
        raise SettingError(f"{path} holds another search ({says}). Resume with its settings, or choose another folder.")


def _short(value: Any) -> str:
    text = repr(value["name"] if isinstance(value, Mapping) and "name" in value else value)
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "..."


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN is null."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value
