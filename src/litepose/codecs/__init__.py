"""What the channels of a network mean: targets from people, people from maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from litepose.codecs.ae import AECodec
from litepose.codecs.base import Codec, Found, MapLayers, Pass
from litepose.codecs.heatmap import HeatmapCodec
from litepose.codecs.paf import PafCodec
from litepose.errors import SpecError, nearest_name

CODECS: dict[str, type] = {kind.name: kind for kind in (AECodec, HeatmapCodec, PafCodec)}

__all__ = [
    "CODECS",
    "AECodec",
    "Codec",
    "Found",
    "HeatmapCodec",
    "MapLayers",
    "PafCodec",
    "Pass",
    "codec_from_json",
    "codec_to_json",
]


def codec_to_json(codec: Codec) -> dict[str, Any]:
    """Return the codec's name and settings as plain values."""
    assert dataclasses.is_dataclass(codec)
    return {"name": codec.name, **dataclasses.asdict(codec)}


def codec_from_json(data: Mapping[str, Any]) -> Codec:
    """Build a codec from `codec_to_json`'s mapping. Raises SpecError."""
    settings = dict(data)
    name = str(settings.pop("name", ""))
    if name not in CODECS:
        raise SpecError(f"No codec {name!r}. {nearest_name(name, CODECS)} A newer litepose may know it: upgrade.")
    fields = {field.name for field in dataclasses.fields(CODECS[name])}
    for key in settings:
        if key not in fields:
            raise SpecError(f"Codec {name!r} has no setting {key!r}. {nearest_name(key, fields)}")
    return CODECS[name](**{key: tuple(v) if isinstance(v, list) else v for key, v in settings.items()})
