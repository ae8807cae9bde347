"""Where a training starts: the spec of its weights, and weights taken over from another checkpoint."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
import torch
from torch import Tensor, nn

from litepose import __version__, checkpoints, files, importing, models, unfolding, weights
from litepose.codecs import CODECS, Codec, codec_from_json
from litepose.errors import CheckpointError, RecipeError, SettingError, SpecError, nearest_name
from litepose.geometry import check_input_size
from litepose.losses import LOSSES, Loss
from litepose.models.layers import PoseNetwork
from litepose.models.litepose import LitePose
from litepose.models.litepose_super import KERNEL_MAPS, LitePoseSuper, sort_channels
from litepose.spec import PoseSpec
from litepose.supernet import SPACE_KEY
from litepose.training.growing import grow
from litepose.training.heads import carry_over, channel_axes
from litepose.training.recipe import Recipe, parse_recipe

# What a resumed run may do differently: nothing of it changes what is learned (threads, targets, compile,
# fast_depthwise and deterministic: how numbers round; teachers are told by their checksums, wherever they lie; patience
# says how long, not what).
FREE_TO_CHANGE = {
    "run.workers", "run.targets", "run.threads", "run.log_steps", "run.checkpoint_minutes", "run.patience_evaluations",
    "run.compile", "run.deterministic", "run.fast_depthwise",
    "data.root", "data.validation.source", "data.validation.images",
    "hints.teacher", "distillation.teacher",
}  # fmt: skip
Candidate = tuple[dict[str, Tensor], PoseSpec | None]  # weights under our names, and what they are where that is known
LISTED = 12  # names of tensors that a note shows
PARADIGMS = {"ae": "bottom-up", "heatmap": "top-down", "paf": "part-affinity"}


def make_spec(recipe: Recipe) -> PoseSpec:
    """Return the spec of the weights that this recipe trains.

    Raises RecipeError, ModelError, SkeletonError, InputSizeError.
    """
    model, space = recipe.model, None if recipe.supernet is None else recipe.supernet.search_space()
    codec = _make_codec(recipe)
    settings = dict(model.settings)
    arch = settings.pop("arch", None) if model.arch is None else models.read_arch(model.arch)
    _check_kind(model.name, wanted=space is not None)
    if space is not None:
        arch, settings["kernels"] = space.largest(), space.kernels
    spec = checkpoints.default_spec(
        model.name, model.open_skeleton(), size=model.size, codec=codec, arch=arch, **settings
    )
    pixels = {key: getattr(model, key) for key in ("colour", "mean", "std") if getattr(model, key) is not None}
    spec = dataclasses.replace(spec, input=dataclasses.replace(spec.input, **pixels))
    for entry in recipe.run.size_schedule:
        check_input_size(entry.size, spec.input.stride, name=model.name)
    return spec.with_provenance(
        source="trained",
        litepose_version=__version__,
        torch_version=torch.__version__,
        recipe=_public(recipe),
        **({} if space is None else {SPACE_KEY: space.to_json()}),
    )


def _check_kind(model: str, *, wanted: bool) -> None:
    """Raise RecipeError where a supernet is to be trained as a network, or a network as a supernet."""
    is_supernet = models.family_of(model).NETWORK.is_supernet
    if is_supernet and not wanted:
        raise RecipeError(
            f"The recipe's model {model} is a supernet, which is trained by its sub-networks: add [supernet] with the "
            "search space and the sampling, or name a network."
        )
    if wanted and not is_supernet:
        raise RecipeError(
            f"The recipe has [supernet], and its model {model} is a single network. Name litepose_super, or leave "
            "[supernet] out."
        )


def _make_codec(recipe: Recipe) -> Codec:
    """Return the recipe's codec. Raises ModelError, RecipeError where it is none or of the other paradigm."""
    model, wanted, asked = (
        recipe.model.name,
        models.family_of(recipe.model.name).DEFAULT.codec,
        recipe.codec.get("name"),
    )
    if asked in CODECS and asked != wanted:
        raise RecipeError(
            f"The recipe's [codec] is {asked!r}; {model} is a {PARADIGMS[wanted]} network, whose outputs codec "
            f"{wanted!r} reads. Name that one, with its settings, or train a {PARADIGMS[asked]} network."
        )
    try:
        return codec_from_json(recipe.codec)
    except (SpecError, SettingError) as error:
        raise RecipeError(f"The recipe's [codec]: {error}") from error


def make_loss(recipe: Recipe, spec: PoseSpec) -> Loss:
    """Return the loss that belongs to the spec's codec, with the recipe's settings. Raises RecipeError."""
    kind = LOSSES[spec.codec.name]
    known = {field.name for field in dataclasses.fields(kind)}
    for key in recipe.loss:
        if key not in known:
            raise RecipeError(f"The recipe's [loss] has an unknown key {key!r}. {nearest_name(key, known)}")
    try:
        loss: Loss = pydantic.TypeAdapter(kind).validate_python(recipe.loss)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise RecipeError(f"The recipe's loss.{key} = {first['input']!r} is impossible: {first['msg']}.") from error
    factors = getattr(loss, "heatmap_factors", None)
    if factors is not None and len(factors) != len(spec.outputs):
        raise RecipeError(
            f"The recipe's [loss] heatmap_factors has {len(factors)} numbers; {spec.model} has {len(spec.outputs)} "
            "outputs. Give one factor for each output."
        )
    return loss


def _public(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain values that name data without saying where they lie on this machine."""
    settings: dict[str, Any] = files.without_folders(recipe.model_dump(mode="json", exclude_none=True))
    settings["data"]["root"] = settings["data"]["root"].rsplit("/", 1)[-1]
    return settings


def load_matching(
    network: nn.Module, path: str | Path, *, model: str, spec: PoseSpec | None = None
) -> tuple[list[str], list[str]]:
    """Copy the weights of a checkpoint by name where their shape fits; return the names that stay fresh or unused.

    path: a .safetensors file, an .onnx file exported for training, the name of a shipped model, or another project's
    file (.pth, .pth.tar): a checkpoint of the network's authors or of mmpose, or ImageNet weights of its trunk. Half
    precision widens to the network's own.
    model: the network's name, whose family knows what the others call its parts.
    spec: the network's; channels of litepose's own files are then matched by what they mean (`heads.carry_over`).
    Returns (names of the network's tensors left as they were, names of the file's tensors that fit nowhere).
    Raises ModelError, CheckpointError where nothing fits.
    """
    return _load_matching(network, path, _candidates(weights.path_of(path), model), spec)


def _load_matching(
    network: nn.Module, path: str | Path, candidates: list[Candidate], spec: PoseSpec | None
) -> tuple[list[str], list[str]]:
    own = network.state_dict()
    found: list[tuple[dict[str, Tensor], list[str]]] = []
    for state, old in candidates:
        if spec is not None and old is not None and _channel_names(old) != _channel_names(spec):
            state = carry_over(state, own, old=old, new=spec)
        if isinstance(network, LitePose) and not network.is_supernet:
            state = grow(state, network) or state
        fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
        found.append((fitting, [name for name in state if name not in fitting]))
    fitting, unused = max(found, key=lambda one: len(one[0]))
    if not any(name.endswith("weight") for name in fitting):
        raise CheckpointError(
            f"--from {path}: none of its {len(unused) + len(fitting)} tensors fits this network's {len(own)} by name "
            "and shape. Take a checkpoint of the same model family, or start without --from."
        )
    network.load_state_dict(fitting, strict=False)
    return [name for name in own if name not in fitting], unused


def take_over(network: PoseNetwork, path: str | Path, *, spec: PoseSpec) -> list[str]:
    """Start a network from a checkpoint, a supernet also from its widest network; return notes for the user.

    Where the checkpoint's keypoints differ from those of the network, which `spec` describes, its heads are made anew:
    channels of keypoints with the same name keep their weights, all others start afresh.
    A supernet's channels are then sorted by importance, unless they come from a supernet, which was trained in its
    order. Raises what `load_matching` raises, and CheckpointError where a supernet's backbone would stay fresh.
    """
    candidates = _candidates(weights.path_of(path), spec.model)
    fresh, unused = _load_matching(network, path, candidates, spec)
    total, old = len(network.state_dict()), candidates[0][1]
    changed = old is not None and old.skeleton.keypoints != spec.skeleton.keypoints
    heads = set(channel_axes(spec)) - set(fresh) if changed else set()
    notes = [f"{total - len(fresh) - len(heads)} of {total} tensors taken over from {path}."]
    if old is not None and heads:
        notes.append(f"Heads ({len(heads)} tensors) for other keypoints: {_kept_channels(old, spec)}.")
    wider = _wider(candidates[0][0], network) - set(fresh)
    if wider:
        notes.append(f"{len(wider)} of them are wider here: the file's channels come first, the others start anew.")
    if fresh:
        notes.append(f"Fresh, because name or shape differ: {_listed(fresh)}.")
    if unused:
        notes.append(f"Left in the file, because they fit nowhere: {_listed(unused)}.")
    if isinstance(network, LitePoseSuper):
        missing = [name for name in fresh if name.startswith(("stem.", "stages.")) and KERNEL_MAPS not in name]
        if missing:
            raise CheckpointError(
                f"--from {path}: a supernet starts from its widest network, or another supernet; this one lacks "
                f"{len(missing)} tensors of the backbone, such as {missing[0]}, or has them in another shape. Take a "
                "checkpoint of the widest network of the recipe's space."
            )
        if not _is_supernet(weights.path_of(path), spec.model):
            sort_channels(network)
            notes.append("Channels sorted by importance.")
    return notes


def _listed(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")


def _wider(state: Mapping[str, Tensor], network: nn.Module) -> set[str]:
    own = network.state_dict()
    return {name for name in own if name in state and own[name].numel() > state[name].numel()}


def _is_supernet(path: Path, model: str) -> bool:
    if path.suffix.lower() == ".onnx":
        return False
    if path.suffix not in importing.SUFFIXES:
        return bool(models.family_of(checkpoints.load(path)[1].model).NETWORK.is_supernet)
    return any(KERNEL_MAPS in name for state, _ in _candidates(path, model) for name in state)


def _kept_channels(old: PoseSpec, new: PoseSpec) -> str:
    """Say which keypoints' channels a network of other keypoints keeps."""
    names = new.skeleton.keypoints
    anew = [name for name in names if name not in old.skeleton.keypoints]
    made = f"made anew: {', '.join(anew)}" if anew else "none made anew"
    return f"{len(names) - len(anew)} of {len(names)} heatmap channels kept by name, {made}"


def _channel_names(spec: PoseSpec) -> tuple[tuple[str, ...], ...]:
    return spec.codec.channel_names(spec.skeleton)


def _candidates(path: Path, model: str) -> list[Candidate]:
    """Return the states of a checkpoint under our names; another project's file may hold several, named in two ways.

    Raises ModelError for a supernet where a network is trained.
    """
    if path.suffix.lower() == ".onnx":
        return [unfolding.load(path)]
    if path.suffix not in importing.SUFFIXES:
        state, spec = checkpoints.load(path)
        if spec.model and not models.family_of(model).NETWORK.is_supernet:
            checkpoints.check_is_network(spec, path)
        return [(state, spec if spec.model else None)]
    states, keys = importing.read_states(path), models.family_of(model).OFFICIAL_KEYS
    return [(importing.rename(state, keys, source=source), None) for state in states for source in importing.SOURCES]


def check_same_recipe(recipe: Recipe, saved: str) -> None:
    """Raise SettingError where a resumed run would not be the run that was begun. saved: its recipe as TOML."""
    # A recipe that an earlier version wrote lacks the keys that came later: their defaults are what it did.
    began = parse_recipe(tomllib.loads(saved), "of the checkpoint")
    before, now = (_flat(tomllib.loads(one.to_toml())) for one in (began, recipe))
    changed = [key for key in sorted({*before, *now} - FREE_TO_CHANGE) if before.get(key, None) != now.get(key, None)]
    if changed:
        lines = "; ".join(f"{key}: {before.get(key, 'absent')} -> {now.get(key, 'absent')}" for key in changed)
        raise SettingError(
            f"--resume goes on with the same recipe, and this one differs: {lines}. Use the run's own recipe.toml, or "
            "begin a new run with --from last.safetensors."
        )


def check_same_processes(now: int, before: int) -> None:
    """Raise SettingError where a resumed run has another number of processes: its steps would see other pictures."""
    if now != before:
        raise SettingError(
            f"--resume: the run was begun with {before} processes, and there are {now} now, so a step would be another "
            f"one. Start it with --nproc-per-node so that all are {before}, or begin a new run with --from "
            "last.safetensors."
        )


def notes_of_processes(recipe: Recipe, count: int) -> list[str]:
    """Return what several processes make of the recipe's batch and learning rate, for the user; nothing for one."""
    if count == 1:
        return []
    batch, scaled = recipe.run.batch, recipe.optim.scale_lr
    rate = recipe.optim.lr * (count if scaled else 1)
    how = f"{count} times the recipe's" if scaled else "the recipe's, which optim.scale_lr = true would scale"
    return [f"{count} processes of {batch}: {batch * count} pictures a step; learning rate {rate:g}, {how}."]


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
