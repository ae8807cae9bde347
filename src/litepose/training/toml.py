"""Plain values -> TOML text (the standard library only reads it)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def to_toml(data: Mapping[str, Any]) -> str:
    """Return nested mappings of strings, numbers, booleans and lists as TOML; lists of mappings become [[tables]]."""
    return "\n".join(_table(data, ())).strip() + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"{key} = {_value(value)}" for key, value in table.items() if not _is_table(value)]
    for key, value in table.items():
        if not _is_table(value):
            continue
        name = ".".join((*path, key))
        for entry in value if isinstance(value, list) else [value]:
            header = f"[[{name}]]" if isinstance(value, list) else f"[{name}]"
            lines += ["", header, *_table(entry, (*path, key))]
    return lines


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(v, Mapping) for v in value))


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(entry) for entry in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    assert isinstance(value, str | bool | int | float), f"no TOML for {value!r}"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans are written alike in both
