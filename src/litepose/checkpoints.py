"""Weights with their pose spec: a .safetensors file whose metadata holds the spec, so the file alone is a model.

Official checkpoints of the networks' authors come in through `import_official`; `importing` opens such files safely.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from litepose import importing, models
from litepose.codecs import CODECS, Codec, PafCodec
from litepose.errors import CheckpointError, ModelError, SettingError, SpecError, nearest_name
from litepose.files import write_bytes
from litepose.geometry import check_input_size
from litepose.models.layers import FamilyDefault, PoseNetwork
from litepose.skeleton import Skeleton
from litepose.spec import BOX_RULES, IMAGENET_MEAN, IMAGENET_STD, SPEC_KEY, InputSpec, OutputSpec, PoseSpec, box_rule

SHOWN_NAMES = 6  # of a long difference


def default_spec(
    model: str,
    skeleton: Skeleton,
    *,
    size: tuple[int, int] | None = None,
    codec: Codec | None = None,
    arch: Mapping[str, Any] | None = None,
    **settings: Any,
) -> PoseSpec:
    """Return the spec that weights of `model` carry where nothing else is said.

    size: (w, h); the variant's (or the arch's) own where it is None.
    codec: the family's with its defaults where it is None. Settings that codec and network share (such as
        tag_per_keypoint) are handed from one to the other.
    settings: further keyword arguments of `models.build`.
    Raises ModelError, SettingError, InputSizeError, SpecError.
    """
    family = models.family_of(model)
    default = family.DEFAULT
    if arch is not None:
        settings["arch"] = arch
    if codec is None:
        codec = _codec_with(default.codec, {**default.codec_settings, **settings})
    else:
        settings = {**_settings_of(codec, family.NETWORK), **settings}
    if "num_limbs" in inspect.signature(family.NETWORK).parameters and isinstance(codec, PafCodec):
        settings = {"num_limbs": codec.num_limbs(skeleton), **settings}
    num_maps = skeleton.num_keypoints * getattr(codec, "maps_per_keypoint", 1)
    network_settings = json.loads(json.dumps({"num_keypoints": num_maps, **settings}))
    network = models.build_shell(model, **network_settings)
    width, height = size or _made_for(arch) or default.sizes[model]
    check_input_size((width, height), network.input_stride, name=model)
    strides = codec.strides()
    if tuple(strides) != tuple(network.output_strides):
        raise SpecError(
            f"{model} has outputs of strides {network.output_strides}; codec {codec.name!r} is set for {strides}."
        )
    resize = box_rule(codec) if default.resize in BOX_RULES else default.resize
    outputs = zip(default.outputs, network.output_strides, network.output_channels, strict=True)
    return PoseSpec(
        model=model,
        skeleton=skeleton,
        codec=codec,
        input=InputSpec(
            size=(width, height),
            resize=resize,
            stride=network.input_stride,
            mean=default.mean or IMAGENET_MEAN,
            std=default.std or IMAGENET_STD,
        ),
        outputs=tuple(OutputSpec(*output) for output in outputs),
        network=network_settings,
        provenance={"note": default.notes[model]} if model in default.notes else {},
    )


def build_network(spec: PoseSpec) -> PoseNetwork:
    """Return the spec's network with fresh weights. Raises ModelError, SpecError."""
    network = _build(spec)
    channels = tuple(output.channels for output in spec.outputs)
    maps = all(output.stride for output in spec.outputs)  # not so in files that find peaks in them by themselves
    if maps and tuple(network.output_channels) != channels:
        raise SpecError(
            f"The spec of {spec.model!r} lists outputs with {channels} channels; the network it describes has "
            f"{tuple(network.output_channels)}. Its fields network and outputs do not belong together."
        )
    return network


def save(path: str | Path, state: Mapping[str, Tensor], spec: PoseSpec) -> Path:
    """Write weights and spec to a .safetensors file; the file appears whole or not at all."""
    path = Path(path)
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
    content = safetensors.torch.save(tensors, metadata={SPEC_KEY: spec.to_json()})
    write_bytes(path, content)
    return path


def load(path: str | Path) -> tuple[dict[str, Tensor], PoseSpec]:
    """Read weights (on the CPU) and spec of a .safetensors file. Raises CheckpointError, SpecError."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"No checkpoint {path}. Give the path of a .safetensors file that litepose wrote.")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}). Checkpoints of other projects (.pth, .pth.tar) come in "
            "through `litepose convert`."
        ) from error
    if SPEC_KEY not in metadata:
        raise SpecError(
            f"{path} holds weights but no pose spec (metadata {sorted(metadata)}); litepose did not write it. "
            "Convert the original checkpoint with `litepose convert`."
        )
    return state, PoseSpec.from_json(metadata[SPEC_KEY], source=str(path))


def load_network(path: str | Path) -> tuple[PoseNetwork, PoseSpec]:
    """Return (network in eval mode, spec) of a .safetensors file.

    Raises CheckpointError, SpecError, and ModelError for a supernet.
    """
    state, spec = load(path)
    try:
        network = build_network(spec)
    except (ModelError, SettingError) as error:
        raise SpecError(f"{path} describes a network that cannot be built: {error}") from error
    check_is_network(spec, path)
    load_state(network, state, source=str(path))
    return network.eval(), spec


def check_is_network(spec: PoseSpec, path: str | Path) -> None:
    """Raise ModelError where a checkpoint holds a supernet, of which networks must be cut first."""
    if models.family_of(spec.model).NETWORK.is_supernet:
        raise ModelError(
            f"{path} was given as a network; it is a supernet, of which networks are cut: "
            f"litepose extract {path} --arch FILE.json -o CHECKPOINT.safetensors"
        )


def load_state(network: nn.Module, state: Mapping[str, Tensor], *, source: str = "these weights") -> None:
    """Copy `state` into the network, every tensor or none. Half precision is widened.

    Batch counters (num_batches_tracked) may be absent, as old files lack them.
    source: names the weights in errors. Raises CheckpointError with the difference.
    """
    _check_fits(network.state_dict(), state, source=source)
    network.load_state_dict(state, strict=False)


def _check_fits(own: Mapping[str, Tensor], state: Mapping[str, Any], *, source: str) -> None:
    """Raise CheckpointError unless names, shapes and kinds of numbers fit. state: tensors, or what describes them."""
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    misshapen = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if missing or unexpected or misshapen:
        raise CheckpointError(_difference(source, len(own), missing, unexpected, misshapen))
    strange = [
        f"{name} {state[name].dtype}"
        for name in own
        if name in state and own[name].is_floating_point() and "float" not in str(state[name].dtype).lower()
    ]
    if strange:
        raise CheckpointError(
            f"{source}: {len(strange)} tensors hold other numbers than a network's real ones: {_shown(strange)}. "
            "Quantised and integer weights do not come in; take the original ones."
        )


def import_official(
    path: str | Path,
    model: str,
    skeleton: Skeleton,
    *,
    source: str = "official",
    arch: Mapping[str, Any] | None = None,
    wrapper: str | None = None,
    **settings: Any,
) -> tuple[PoseNetwork, PoseSpec]:
    """Read a checkpoint of the network's authors, or of mmpose, into our network; nothing in it is executed.

    source: "official" or "mmpose"; it decides names and colour order, which the tensors themselves do not tell.
    wrapper: the key of a training checkpoint whose weights are wanted ("ema"); where it is None, those that fit best,
        of equal ones the first in `importing.WRAPPERS`.
    settings: further keyword arguments of `models.build`.
    Returns (network in eval mode, spec). Raises CheckpointError and what `default_spec` raises.
    """
    if source not in importing.SOURCES:
        raise SettingError(f"No checkpoint source {source!r}. {nearest_name(source, importing.SOURCES)}")
    path = Path(path)
    family = models.family_of(model)
    opened = importing.open_checkpoint(path)
    _refuse_ours(path, opened)
    candidates = _chosen(opened.states, wrapper, path)
    spec = default_spec(model, skeleton, arch=arch, **settings)
    network = build_network(spec)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}

    def renamed(tensors: Mapping[str, Any]) -> dict[str, Any]:
        named = importing.rename(tensors, family.OFFICIAL_KEYS, source=source)
        return _without_left_out(named, shapes, family.LEFT_OUT) if hasattr(family, "LEFT_OUT") else named

    described = [renamed(state.tensors) for state in candidates]
    fitting = [sum(tensor.shape == shapes.get(name) for name, tensor in one.items()) for one in described]
    best = fitting.index(max(fitting))
    said = f"{path} as {model} with {skeleton.num_keypoints} keypoints"
    _check_fits(network.state_dict(), described[best], source=said)  # before a number of them is read
    weights = renamed(candidates[best].load())
    load_state(network, weights, source=said)
    _check_finite(weights, source=str(path))
    spec = _as_its_authors_made_it(spec, source, family.DEFAULT)
    origin = {"imported_from": path.name, "imported_sha256": _sha256(path)}
    if candidates[best].wrapper:
        origin["imported_wrapper"] = candidates[best].wrapper
    return network.eval(), spec.with_provenance(**origin)


def _without_left_out(state: Mapping[str, Any], own: Mapping[str, Any], pattern: str) -> dict[str, Any]:
    """Return a state without what a smaller variant of the family leaves out of a larger one's file."""
    return {name: tensor for name, tensor in state.items() if name in own or not re.fullmatch(pattern, name)}


def _refuse_ours(path: Path, opened: importing.Opened) -> None:
    """Raise CheckpointError for files that need no import: another project's colour order would be noted in them."""
    if SPEC_KEY in (opened.metadata or {}):
        raise CheckpointError(f"{path} is a litepose checkpoint already: every command takes it as it is.")
    if set(opened.keys) >= importing.TRAINING_KEYS:
        raise CheckpointError(
            f"{path} is what a litepose training goes on from (`litepose train --resume`). Its weights lie beside it, "
            "as last.safetensors and best.safetensors."
        )


def _chosen(states: Sequence[importing.State], wrapper: str | None, path: Path) -> list[importing.State]:
    """Return the states under that key, all where it is None. Raises SettingError."""
    chosen = [state for state in states if wrapper is None or state.wrapper == wrapper]
    if not chosen:
        held = ", ".join(repr(state.wrapper) for state in states)
        raise SettingError(f"{path} holds no weights under {wrapper!r}. Possible: {held}.")
    return chosen


def _check_finite(state: Mapping[str, Tensor], *, source: str) -> None:
    broken = [name for name, tensor in state.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise CheckpointError(
            f"{source}: {len(broken)} of {len(state)} tensors hold NaN or infinite numbers: {_shown(broken)}. Such "
            "weights find nobody. Get the file again, or take an earlier checkpoint of that training."
        )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")


def _codec_with(name: str, settings: Mapping[str, Any]) -> Codec:
    """Return the codec with those of the network's settings that it has too."""
    known = inspect.signature(CODECS[name]).parameters
    shared = {key: tuple(v) if isinstance(v, list) else v for key, v in settings.items() if key in known}
    return CODECS[name](**shared)


def _settings_of(codec: Codec, network: type[nn.Module]) -> dict[str, Any]:
    """Return the codec's settings that the network shares, where they are not the network's default."""
    parameters = inspect.signature(network).parameters
    return {
        key: getattr(codec, key)
        for key in inspect.signature(type(codec)).parameters
        if key in parameters and getattr(codec, key) != parameters[key].default
    }


def _build(spec: PoseSpec) -> PoseNetwork:
    if not spec.model:
        raise ModelError("This spec names no network (it belongs to an exported file); it cannot be built in torch.")
    try:
        return models.build(spec.model, **spec.network)
    except TypeError as error:
        raise SpecError(f"The spec of {spec.model!r} does not describe its network: {error}.") from error


def _made_for(arch: Mapping[str, Any] | None) -> tuple[int, int] | None:
    return (arch["img_size"],) * 2 if arch else None


def _as_its_authors_made_it(spec: PoseSpec, source: str, default: FamilyDefault) -> PoseSpec:
    """Return the spec with the pixels and the decoding that imported weights were made for; mmpose's are always RGB.

    Mean and std stay what they are, number for number: the authors' code applies (0.485, 0.456, 0.406) to the channels
    as they come, also where they come as B, G, R (zhang943/lpn-pytorch@f397525, tools/test.py and JointsDataset.py).
    """
    colour, codec = "RGB", spec.codec
    if source == "official":
        num_keypoints = spec.skeleton.num_keypoints
        colour = default.official_colour_by_keypoints.get(num_keypoints, default.official_colour)
        settings = default.official_codec_by_keypoints.get(num_keypoints, {})
        codec = replace(codec, **settings)  # type: ignore[type-var]
    pixels = replace(spec.input, colour=colour)
    noted = {"colour": colour, "mean": list(pixels.mean), "std": list(pixels.std)}
    return replace(spec, input=pixels, codec=codec).with_provenance(source=source, **noted)


def _difference(source: str, total: int, missing: list[str], unexpected: list[str], misshapen: list[str]) -> str:
    parts = [
        f"{len(names)} {what}: {_shown(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshapen))
        if names
    ]
    if missing or unexpected:
        advice = "Is it a checkpoint of this network, and whole?"
    else:
        advice = "All names fit: another skeleton (number of keypoints), variant or arch is probably meant."
    return f"{source}: the weights do not fit the network's {total} tensors. {'; '.join(parts)}. {advice}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
