"""`PoseSpec`: everything a model file must say about itself so that people can be found with it.

It lies as JSON inside checkpoints (safetensors metadata) and ONNX files (metadata_props), under the key
`SPEC_KEY`; no second file is ever needed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from litepose.codecs import Codec, codec_from_json, codec_to_json
from litepose.errors import LiteposeError, SpecError, nearest_name
from litepose.skeleton import Skeleton

SPEC_VERSION = 1
SPEC_KEY = "litepose"  # the metadata key in every file format

RESIZE_RULES = ("short_side", "height", "letterbox", "stretch", "box", "box_udp")
BOX_RULES = ("box", "box_udp")  # one crop for each person
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class InputSpec:
    """How a picture becomes the network's input.

    size: (w, h) the network was trained for.
    resize: "short_side" (short side to min(size), the other to a multiple of 64: HigherHRNet's rule), "height"
        (`Warp.openpose`, the rest in the mean grey), "letterbox", "stretch", or one crop for each person: "box"
        (HRNet's, `Warp.hrnet`) or "box_udp" (`Warp.udp`).
    colour: "RGB" or "BGR", the channel order that the network expects.
    mean, std: of pixels / 255, in that channel order.
    stride: both sides of any input must be multiples of it.
    pixels: the file takes 8-bit pixels in that channel order and normalises them itself.
    """

    size: tuple[int, int]
    resize: str = "short_side"
    colour: str = "RGB"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    stride: int = 16
    pixels: bool = False

    def __post_init__(self) -> None:
        if self.resize not in RESIZE_RULES:
            raise SpecError(f"No resize rule {self.resize!r}. {nearest_name(self.resize, RESIZE_RULES)}")
        if self.colour not in ("RGB", "BGR"):
            raise SpecError(f"No colour order {self.colour!r}. Possible: RGB, BGR.")
        for name, count in (("size", 2), ("mean", 3), ("std", 3)):
            value = tuple(getattr(self, name))
            if len(value) != count or (name != "mean" and min(value) <= 0):
                raise SpecError(f"Input {name} must be {count} positive numbers; found {value}.")
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class OutputSpec:
    """One output of the network: its name in exported files, input px per cell (0 = no map), channels."""

    name: str
    stride: int
    channels: int


@dataclass(frozen=True)
class PoseSpec:
    """What a set of weights is.

    model: the name that `litepose.models.build` knows, "" where the network exists only as an exported file.
    network: the keyword arguments of `build`, so that a checkpoint alone rebuilds its network.
    provenance: plain JSON: data, recipe, metrics, licence, source, sha256, ...
    """

    model: str
    skeleton: Skeleton
    codec: Codec
    input: InputSpec
    outputs: tuple[OutputSpec, ...]
    network: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        wanted = self.codec.channels(self.skeleton)
        found = tuple(output.channels for output in self.outputs)
        if wanted != found:
            raise SpecError(
                f"Spec of {self.model!r}: codec {self.codec.name!r} on {self.skeleton.name} needs outputs with "
                f"{wanted} channels; the spec lists {found}. The file's skeleton, codec and outputs do not belong "
                "together."
            )
        if self.input.resize in BOX_RULES and self.input.resize != box_rule(self.codec):
            raise SpecError(
                f"Spec of {self.model!r}: its crops are cut by {self.input.resize!r}, but codec {self.codec.name!r} "
                f"with these settings reads crops cut by {box_rule(self.codec)!r}. UDP encodings and 'box_udp' belong "
                "together, and so do all others and 'box'. Change the input's resize or the codec's encoding."
            )

    def with_provenance(self, **entries: Any) -> PoseSpec:
        """Return a copy with `entries` added to the provenance."""
        return dataclasses.replace(self, provenance={**self.provenance, **entries})

    def to_json(self) -> str:
        """Return the spec as JSON text."""
        data = {
            "version": self.version,
            "model": self.model,
            "network": dict(self.network),
            "skeleton": self.skeleton.to_json(),
            "codec": codec_to_json(self.codec),
            "input": dataclasses.asdict(self.input),
            "outputs": [dataclasses.asdict(output) for output in self.outputs],
            "provenance": dict(self.provenance),
        }
        return json.dumps(data)

    @classmethod
    def from_json(cls, text: str, *, source: str = "this file") -> PoseSpec:
        """Read `to_json`'s text. `source` names the file in errors. Raises SpecError."""
        try:
            data = json.loads(text)
            version = int(data["version"])
        except (ValueError, TypeError, KeyError) as error:
            raise SpecError(
                f"{source} holds a pose spec that cannot be read ({error!r}). Export the model again."
            ) from error
        if version > SPEC_VERSION:
            raise SpecError(
                f"{source} has a pose spec of version {version}; this litepose reads up to version {SPEC_VERSION}. "
                "Upgrade litepose."
            )
        try:
            return cls(
                model=str(data["model"]),
                skeleton=Skeleton.from_json(data["skeleton"]),
                codec=codec_from_json(data["codec"]),
                input=InputSpec(**data["input"]),
                outputs=tuple(OutputSpec(**output) for output in data["outputs"]),
                network=data.get("network", {}),
                provenance=data.get("provenance", {}),
            )
        except LiteposeError as error:
            raise SpecError(f"{source} has a pose spec that this litepose cannot use. {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SpecError(f"{source} has an incomplete pose spec: {error!r}. Export the model again.") from error


def box_rule(codec: Codec) -> str:
    """Return the resize rule by which crops for this codec are cut: of BOX_RULES."""
    return "box_udp" if getattr(codec, "udp", False) else "box"
