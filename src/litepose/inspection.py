"""What a checkpoint or model file is, said without running anything in it or reading a weight.

`importing` describes it, `recognition` finds the network that its names and shapes fit; here stands what follows from
that: in words, and as the command that comes next.
"""

from __future__ import annotations

import shlex
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from litepose import importing, models
from litepose.errors import CheckpointError, SpecError
from litepose.importing import Opened, State
from litepose.recognition import COUNTER, LEAST_NAMED, OURS, Match, find_matches
from litepose.skeleton import SKELETONS
from litepose.spec import SPEC_KEY, PoseSpec
from litepose.unpickling import readable

STATISTICS = ("running_mean", "running_var", COUNTER)  # what training does not change by its gradients
FIRST_NAMES = 12


@dataclass(frozen=True)
class Weights:
    """One mapping of names to tensors in a file.

    numbers: of all tensors. parameters: of those that training changes (no running statistics).
    dtypes: kind of number -> tensors. first: (name, shape) of the first ones.
    """

    wrapper: str
    prefix: str
    tensors: int
    numbers: int
    parameters: int
    dtypes: dict[str, int]
    first: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Inspection:
    """What is known of a file.

    kind: in words. layout: zip, legacy, safetensors or onnx. keys: of its top level. foreign: classes that it names.
    match: the network that fits best, None where none does; others: the next best of other names.
    skeletons: names of those with that many keypoints. colour: what the source's weights expect.
    advice: what to do with it. command: the line to run, None where none would work.
    """

    file: str
    bytes: int
    kind: str
    layout: str
    keys: tuple[str, ...] = ()
    weights: tuple[Weights, ...] = ()
    foreign: tuple[str, ...] = ()
    match: Match | None = None
    others: tuple[Match, ...] = ()
    skeletons: tuple[str, ...] = ()
    colour: str | None = None
    spec: Mapping[str, Any] | None = None
    advice: str = ""
    command: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the findings as plain values."""
        return asdict(self)


def inspect(path: str | Path) -> Inspection:
    """Say what a checkpoint or model file is. Raises CheckpointError where it is unsafe, broken or none."""
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        return _inspect_onnx(path)
    opened = importing.open_checkpoint(path)
    facts: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "layout": opened.layout,
        "keys": opened.keys if opened.layout != "safetensors" else (),
        "weights": tuple(_weights(state) for state in opened.states),
        "foreign": opened.foreign,
    }
    if SPEC_KEY in (opened.metadata or {}):
        spec = _spec(path, (opened.metadata or {})[SPEC_KEY])
        return Inspection(**facts, **_of_spec(spec), kind="litepose checkpoint", command=_line("info", path))
    if set(opened.keys) >= importing.TRAINING_KEYS:
        advice = "`litepose train --resume` goes on from it; its weights lie beside it as last.safetensors."
        return Inspection(**facts, kind=f"litepose training checkpoint{_of_recipe(opened)}", advice=advice)
    matches = find_matches(opened.states)
    match = next(iter(matches), None)
    facts |= {"match": match, "others": tuple(matches[1:])}
    return Inspection(**facts, **_to_convert(path, opened, match))


# --- what to say of it ---


def _weights(state: State) -> Weights:
    numbers = {name: tensor.shape.numel() for name, tensor in state.tensors.items()}
    return Weights(
        wrapper=state.wrapper,
        prefix=state.prefix,
        tensors=len(numbers),
        numbers=sum(numbers.values()),
        parameters=sum(count for name, count in numbers.items() if not name.endswith(STATISTICS)),
        dtypes=dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in state.tensors.values())),
        first=tuple((name, tuple(tensor.shape)) for name, tensor in list(state.tensors.items())[:FIRST_NAMES]),
    )


def _to_convert(path: Path, opened: Opened, match: Match | None) -> dict[str, Any]:
    """Return kind, skeletons, colour, advice and command of another project's file."""
    what = "safetensors file without a pose spec" if opened.layout == "safetensors" else "torch checkpoint"
    if match is None:
        advice = "No network of litepose has such names; its first names and shapes are shown."
        return {"kind": f"{what} of an unknown network", "advice": advice}
    kind = f"{what} of {match.model}"
    skeletons = tuple(name for name, one in SKELETONS.items() if one.num_keypoints == match.keypoints)
    default = models.family_of(match.model).DEFAULT
    colour = "RGB"
    if match.source == "official":
        colour = default.official_colour_by_keypoints.get(match.keypoints, default.official_colour)
    said = {"skeletons": skeletons, "colour": colour}
    if match.score < 1:
        return {"kind": _partly(kind, match), "advice": _what_differs(path, match), **said}
    skeleton = skeletons[0] if skeletons else "SKELETON.json"
    more = ["--source", match.source] if match.source in importing.SOURCES and match.source != "official" else []
    more += ["--wrapper", match.wrapper] if match.wrapper not in ("", "state_dict") else []
    command = _line(
        "convert",
        path,
        "-m",
        match.model,
        "--skeleton",
        skeleton,
        *more,
        "-o",
        f"{path.stem.split('.')[0]}.safetensors",
    )
    if match.source == OURS:
        advice = "These are litepose's own names without a pose spec: litepose did not write the file."
        return {"kind": kind, "advice": advice, **said}
    advice = (
        f"Shapes do not tell colours: {colour} is what weights of source {match.source!r} expect of this network. "
        "Weights of the authors and of mmpose have the same shapes; say whose they are with --source."
    )
    return {"kind": kind, "advice": advice, "command": command, **said}


def _partly(kind: str, match: Match) -> str:
    if _is_own_arch(match):
        return kind.replace(f" of {match.model}", f" of another architecture than {match.model}, of its family")
    return kind.replace(" of ", ", in part of ") if match.score < 0.5 else kind.replace(" of ", ", most of ")


def _is_own_arch(match: Match) -> bool:
    """Return whether most names fit and their shapes do not."""
    return match.named > LEAST_NAMED > match.score


def _what_differs(path: Path, match: Match) -> str:
    if _is_own_arch(match):
        return (
            f"The names are {match.model}'s, the shapes are not: a network of that family with an architecture of its "
            "own. Where it has an architecture file, give it: `litepose convert ... --arch FILE.json`."
        )
    return (
        f"Not all of {match.model}: `litepose convert` takes whole networks only. A training can begin with what "
        f"fits: `litepose train ... --from {shlex.quote(str(path))}`."
    )


def _of_recipe(opened: Opened) -> str:
    """Return " of NETWORK" where a training's recipe names one that there is."""
    try:
        name = tomllib.loads(opened.content["recipe"])["model"]["name"]
    except (tomllib.TOMLDecodeError, TypeError, KeyError, RecursionError):
        return ""
    return f" of {name}" if name in models.names() else ""


def _line(verb: str, path: Path, *rest: str) -> str:
    return shlex.join(["litepose", verb, str(path), *rest])


def _spec(path: Path, text: str) -> PoseSpec:
    try:
        return PoseSpec.from_json(text, source=path.name)
    except SpecError as error:
        raise SpecError(f"{path}: {readable(str(error))}") from error


def _of_spec(spec: PoseSpec) -> dict[str, Any]:
    """Return what a pose spec says of its file."""
    return {
        "spec": {
            "model": spec.model,
            "skeleton": spec.skeleton.name,
            "keypoints": spec.skeleton.num_keypoints,
            "codec": spec.codec.name,
            "size": list(spec.input.size),
        },
        "skeletons": (spec.skeleton.name,),
        "colour": spec.input.colour,
        "advice": "Every command takes it as it is.",
    }


def _inspect_onnx(path: Path) -> Inspection:
    """Describe an ONNX file by its graph; no engine loads it."""
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise CheckpointError(f"No model file {path}. Give the path of an .onnx file.")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no ONNX model that can be read. It may be truncated, or another kind of file."
        ) from error
    tensors = {
        one.name: (tuple(one.dims), onnx.TensorProto.DataType.Name(one.data_type)) for one in model.graph.initializer
    }
    if not model.graph.node:
        raise CheckpointError(f"{path} is no ONNX model: it holds no graph.")
    weights = _of_initializers(tensors)
    facts: dict[str, Any] = {
        "file": str(path), "bytes": path.stat().st_size, "layout": "onnx", "weights": (weights,),
        "keys": tuple(one.name for one in (*model.graph.input, *model.graph.output)),
    }  # fmt: skip
    text = {entry.key: entry.value for entry in model.metadata_props}.get(SPEC_KEY)
    if text is None:
        advice = "It names no keypoints and no decoding; `--boxes` takes ONNX detectors, predictions need a pose spec."
        return Inspection(**facts, kind="ONNX model of another project", advice=advice)
    spec = _spec(path, text)
    return Inspection(**facts, **_of_spec(spec), kind="litepose model (ONNX)", command=_line("info", path))


def _of_initializers(tensors: Mapping[str, tuple[tuple[int, ...], str]]) -> Weights:
    total = sum(torch.Size(shape).numel() for shape, _ in tensors.values())
    return Weights(
        wrapper="",
        prefix="",
        tensors=len(tensors),
        numbers=total,
        parameters=total,
        dtypes=dict(Counter(kind.lower() for _, kind in tensors.values())),
        first=tuple((name, shape) for name, (shape, _) in list(tensors.items())[:FIRST_NAMES]),
    )
