"""A recipe: the numbers of one experiment, as one complete TOML file without inheritance.

Every key is checked: an unknown one is an error that names the file, the key and the nearest known one. The keys of
[codec], [loss], [augment.*] and a data entry's own settings belong to the classes they are for, which check them when
built.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from litepose.datasets import is_synthetic
from litepose.errors import RecipeError, SettingError, nearest_name
from litepose.search.space import SearchSpace, space_from_json
from litepose.skeleton import Skeleton, load_skeleton
from litepose.training.toml import to_toml

Size = tuple[PositiveInt, PositiveInt]
Settings = dict[str, Any]  # keyword arguments of the class that the section is for
COMPOSITES = "composites"


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class ModelSection(_Section):
    """The network.

    skeleton: a name, the path of a JSON file, or what such a file holds.
    arch: JSON file of an architecture. settings: further keyword arguments of `models.build`.
    colour, mean, std: of the input, see `InputSpec`; None = the family's.
    """

    name: str
    skeleton: str | Settings
    size: Size
    arch: str | None = None
    settings: Settings = {}
    colour: Literal["RGB", "BGR"] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None

    def open_skeleton(self) -> Skeleton:
        """Return the skeleton. Raises SkeletonError."""
        return load_skeleton(self.skeleton) if isinstance(self.skeleton, str) else Skeleton.from_json(self.skeleton)


class SetEntry(_Section):
    """One set of annotated pictures: what `datasets.open_dataset` takes, paths relative to data.root.

    annotated_only: leave out the pictures of a JSON file that show nobody, as the LitePose authors do.
    """

    source: str
    images: str | None = None
    other_people: str | None = None
    missing_unlabelled: bool = False
    annotated_only: bool = False


class TrainEntry(SetEntry):
    """One source of training samples: a set, or `source = "composites"` with the sets it is put together from.

    weight: share of the draws, over the sum of all weights.
    geometric, photometric: keys of [augment] that differ for this source.
    people, canvases, composites: the arguments of `datasets.composite.Composites`.
    """

    weight: PositiveFloat
    geometric: Settings = {}
    photometric: Settings = {}
    people: tuple[SetEntry, ...] = ()
    canvases: tuple[SetEntry, ...] = ()
    composites: Settings = {}

    @pydantic.model_validator(mode="after")
    def _whole(self) -> TrainEntry:
        parts = bool(self.people), bool(self.canvases)
        if parts != (self.source == COMPOSITES,) * 2 or (self.composites and not self.people):
            raise ValueError(f"people, canvases and composites belong to source = {COMPOSITES!r}, and to it only")
        return self

    @property
    def sets(self) -> tuple[SetEntry, ...]:
        """The sets whose files are needed."""
        return (*self.people, *self.canvases) if self.source == COMPOSITES else (self,)


class ValidationEntry(SetEntry):
    """The pictures on which the weights are judged, never trained on. limit: only the first so many; 0 = all."""

    limit: NonNegativeInt = 0


class DataSection(_Section):
    """Where the pictures are. root: a folder, relative to where the command runs."""

    root: str
    train: tuple[TrainEntry, ...] = Field(min_length=1)
    validation: ValidationEntry | None = None


class AugmentSection(_Section):
    """Settings of `transforms.Photometric`, and of `transforms.RandomWarp` or, for crops, `crops.RandomCrop`."""

    geometric: Settings
    photometric: Settings


class ParameterGroup(_Section):
    """Parameters that move otherwise. names: a shell pattern of their names in the network, "refinements.*.bias".

    lr_factor: of the learning rate. weight_decay: theirs; None = as for all others. Of several groups that a parameter
    fits, the first counts.
    """

    names: str
    lr_factor: NonNegativeFloat = 1.0
    weight_decay: NonNegativeFloat | None = None


class OptimSection(_Section):
    """How the weights move.

    warmup_steps, warmup_from: linear from that share of lr.
    schedule: "steps" = times step_factor at each of step_epochs; "cosine" = down to final_share of lr at the end.
    clip_norm: of the whole gradient; 0 = none. ema_decay: of the averaged weights that are judged and kept; 0 = none.
    stage_lr: the lr of all stages but the first (run.stages); None = the same.
    scale_lr: multiply the rate by the number of processes, as the pictures of a step are (Goyal et al. 2017).
    groups: parameters that have another learning rate or decay.
    """

    name: Literal["adam", "adamw"]
    lr: PositiveFloat
    weight_decay: NonNegativeFloat
    warmup_steps: NonNegativeInt
    warmup_from: NonNegativeFloat
    schedule: Literal["steps", "cosine"]
    step_epochs: tuple[PositiveInt, ...] = ()
    step_factor: PositiveFloat = 0.1
    final_share: NonNegativeFloat = 0.0
    clip_norm: NonNegativeFloat
    ema_decay: float = Field(ge=0, lt=1)
    stage_lr: PositiveFloat | None = None
    scale_lr: bool = False
    groups: tuple[ParameterGroup, ...] = ()


class HintMap(_Section):
    """One map inside the network, the output of module `student`, and the teacher's tensors that it learns to predict.

    A tensor of a finer stride is averaged down to the student's.
    """

    student: str
    teacher: tuple[str, ...] = Field(min_length=1)


class HintsSection(_Section):
    """A frozen teacher of which the network learns inner maps, see `hints.py`.

    teacher: an ONNX file, relative to data.root. colour, mean, std: of its input; levels are 0 to 255.
    factor: of each map's mean squared error, in units of the teacher's variance.
    """

    teacher: str
    colour: Literal["RGB", "BGR"]
    mean: tuple[float, float, float]
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    factor: PositiveFloat
    maps: tuple[HintMap, ...] = Field(min_length=1)

    @pydantic.field_validator("maps")
    @classmethod
    def _different(cls, maps: tuple[HintMap, ...]) -> tuple[HintMap, ...]:
        students = [entry.student for entry in maps]
        if len(set(students)) < len(students):
            raise ValueError(f"each student may come once, with all its teacher tensors; found {students}")
        return maps


class DistillationSection(_Section):
    """A bigger litepose model from which the network learns beside the annotations, see `distillation.py`.

    teacher: the name of a shipped model, or a checkpoint or trainable .onnx file, relative to data.root.
    heatmap_factor: of the squared error to its heatmaps, beside the 1 of the annotations'. tag_factor: of that to its
        tags (bottom-up networks).
    """

    teacher: str
    heatmap_factor: NonNegativeFloat
    tag_factor: NonNegativeFloat = 0.0


class SupernetSection(_Section):
    """The network is the widest of a search space, and each step trains some of its sub-networks, see `supernet.py`.

    space: a name of `search.SPACES`, or a table of its lists. The input size of each step is drawn from it too.
    sampling: "uniform" = one drawn sub-network a step, as the authors; "sandwich" = the largest, the smallest and
        `random` drawn ones.
    distillation: share of the largest network's heatmaps in what a sandwich's other networks learn (Yu and Huang 2019).
    calibration_batches: on which BN statistics are measured before an evaluation.
    """

    space: str | Settings
    sampling: Literal["uniform", "sandwich"]
    random: NonNegativeInt = 2
    distillation: float = Field(default=0.0, ge=0, le=1)
    calibration_batches: PositiveInt = 8

    @pydantic.field_validator("space")
    @classmethod
    def _known(cls, space: str | Settings) -> str | Settings:
        try:
            space_from_json(space)
        except SettingError as error:
            raise ValueError(str(error)) from error
        return space

    @pydantic.model_validator(mode="after")
    def _sandwich_only(self) -> SupernetSection:
        if self.sampling == "uniform" and self.distillation:
            raise ValueError("distillation needs the largest network in each step: set sampling to 'sandwich'")
        return self

    def search_space(self) -> SearchSpace:
        """Return the space as an object."""
        return space_from_json(self.space)


class SizeFrom(_Section):
    """From this share of the run on, the network sees this input size."""

    from_share: float = Field(ge=0, lt=1)
    size: Size


class RunSection(_Section):
    """How long, how large, how often.

    epoch_samples: pictures (people, for crops) in an epoch; 0 = as many as the sources hold together.
    stages: how often all epochs are gone through (LPN's iterative training): each stage begins with the best weights
        so far, a fresh optimizer and the whole schedule of the learning rate.
    workers: processes that prepare pictures; they change the speed, never the samples. threads: of torch; 0 = all.
    targets: who draws them: "worker" = those processes, bit-equal to the codec; "device" = where the network is,
        quicker.
    batch: of each process. accumulate: parts of it that go through the network one after the other, to save memory.
    precision: of the network; BN statistics, losses and weights are always fp32. "fp16" scales the loss, on GPUs only.
    compile: the network by torch.compile. deterministic: two equal runs on one machine are equal bit by bit.
    sync_batchnorm: BN sees the pictures of all processes as one batch.
    fast_depthwise: on a CPU, gradients of 5x5 and 7x7 depthwise kernels by Numba, quicker (see training.depthwise).
    evaluate_epochs: between evaluations; 0 = only at the end.
    patience_evaluations: that many evaluations in a row without better weights end the run early; 0 = never.
    bad_steps: that many non-finite steps in a row are an error.
    """

    epochs: PositiveInt
    epoch_samples: NonNegativeInt
    batch: PositiveInt
    workers: NonNegativeInt
    targets: Literal["worker", "device"] = "device"
    threads: NonNegativeInt
    seed: NonNegativeInt
    precision: Literal["fp32", "bf16", "fp16"]
    channels_last: bool
    log_steps: PositiveInt
    evaluate_epochs: NonNegativeInt
    patience_evaluations: NonNegativeInt = 0
    checkpoint_minutes: PositiveFloat
    bad_steps: PositiveInt
    stages: PositiveInt = 1
    accumulate: PositiveInt = 1
    compile: bool = False
    deterministic: bool = False
    sync_batchnorm: bool = False
    fast_depthwise: bool = False
    size_schedule: tuple[SizeFrom, ...] = ()

    @pydantic.field_validator("accumulate")
    @classmethod
    def _whole_parts(cls, accumulate: int, info: pydantic.ValidationInfo) -> int:
        batch = info.data.get("batch", accumulate)
        if batch % accumulate:
            raise ValueError(f"it must divide run.batch = {batch}, so that all parts are equal")
        return accumulate

    @pydantic.field_validator("size_schedule")
    @classmethod
    def _ascending(cls, schedule: tuple[SizeFrom, ...]) -> tuple[SizeFrom, ...]:
        shares = [entry.from_share for entry in schedule]
        if shares and (shares[0] != 0 or shares != sorted(set(shares))):
            raise ValueError(f"from_share must start at 0 and rise; found {shares}")
        return schedule

    @pydantic.model_validator(mode="after")
    def _one_compiler(self) -> RunSection:
        if self.compile and self.fast_depthwise:
            raise ValueError("run.compile and run.fast_depthwise exclude each other: leave one of them out")
        return self

    @pydantic.model_validator(mode="after")
    def _patient(self) -> RunSection:
        if self.patience_evaluations and (not self.evaluate_epochs or self.stages > 1):
            raise ValueError(
                f"patience_evaluations = {self.patience_evaluations} needs evaluate_epochs of at least 1 (found "
                f"{self.evaluate_epochs}) and a single stage (found {self.stages}), as each stage has its own schedule"
            )
        return self


class Recipe(_Section):
    """One experiment."""

    model: ModelSection
    codec: Settings
    loss: Settings
    data: DataSection
    augment: AugmentSection
    optim: OptimSection
    run: RunSection
    hints: HintsSection | None = None
    distillation: DistillationSection | None = None
    supernet: SupernetSection | None = None

    @pydantic.model_validator(mode="after")
    def _one_thing_at_a_time(self) -> Recipe:
        elsewhere = {
            "hints": self.hints, "distillation": self.distillation, "run.size_schedule": self.run.size_schedule,
            "model.arch": self.model.arch, "run.compile": self.run.compile,
            "run.sync_batchnorm": self.run.sync_batchnorm,
        }  # fmt: skip
        given = [key for key, value in elsewhere.items() if value]
        if self.supernet is not None and given:
            raise ValueError(f"a recipe with [supernet] trains many networks of many sizes: leave out {given[0]}")
        return self

    def to_toml(self) -> str:
        """Return the recipe as TOML text that `load_recipe` reads back."""
        return to_toml(self.model_dump(mode="json", exclude_none=True))

    def size_at(self, share: float) -> tuple[int, int]:
        """Return the input size (w, h) at this share of the run."""
        sizes = [entry.size for entry in self.run.size_schedule if entry.from_share <= share]
        return sizes[-1] if sizes else self.model.size

    def with_data(self, sources: Iterable[str], *, images: str | Path | None = None) -> Recipe:
        """Return the recipe with other training data, each source with the same weight.

        images: the folder of JSON files' pictures. The validation set stays where its file is at hand; else it is left
        out.
        """
        entries = tuple(TrainEntry(**_located(source, images), weight=1) for source in sources)
        validation = self.data.validation
        if validation is not None and not is_synthetic(validation.source):
            validation = validation if (Path(self.data.root) / validation.source).exists() else None
        return self.model_copy(
            update={"data": self.data.model_copy(update={"train": entries, "validation": validation})}
        )

    def with_validation(self, source: str) -> Recipe:
        """Return the recipe with another validation set."""
        limit = 0 if self.data.validation is None else self.data.validation.limit
        entry = ValidationEntry(**_located(source, None), limit=limit)
        return self.model_copy(update={"data": self.data.model_copy(update={"validation": entry})})


def _located(source: str, images: str | Path | None) -> dict[str, Any]:
    """Return the keys of an entry that say where its data are, whatever data.root is."""
    if is_synthetic(source):
        return {"source": source}
    folder = {} if images is None else {"images": str(Path(images).absolute())}
    return {"source": str(Path(source).absolute()), **folder}


def recipe_names() -> list[str]:
    """Return the names of the recipes that come with the package, sorted."""
    folder = resources.files("litepose") / "recipes"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(name_or_path: str | Path, changes: Iterable[str] = ()) -> Recipe:
    """Read a recipe of the package by name, or a .toml file; `changes` are texts like "optim.lr=2e-3".

    Raises RecipeError.
    """
    data, label = read_recipe(name_or_path)
    for change in changes:
        set_key(data, change)
    return parse_recipe(data, label)


def read_recipe(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    """Return a recipe as it is written, unchecked, and what errors call it. Raises RecipeError."""
    text, label = _read(str(name_or_path))
    try:
        return tomllib.loads(text), label
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"Recipe {label} is no TOML: {error}. Correct that line.") from error


def parse_recipe(data: Mapping[str, Any], label: str) -> Recipe:
    """Check a recipe's mapping; `label` names its file in errors. Raises RecipeError."""
    try:
        return Recipe.model_validate(data)
    except pydantic.ValidationError as error:
        lines = [_explain(dict(one)) for one in error.errors()]
        raise RecipeError(f"Recipe {label}: " + "\n  ".join(lines)) from error


def set_key(data: dict[str, Any], change: str) -> None:
    """Apply one "section.key=value" in place, the value read as TOML (a bare word is text). Raises RecipeError."""
    path, equals, value = change.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(f"--set wants section.key=value; found {change!r}. Write for instance optim.lr=2e-3.")
    *sections, last = keys
    place: Any = data
    for key in sections:
        place = _step_into(place, key, change)
    if isinstance(place, list):
        place[_position(place, last, change)] = _toml_value(value)
    else:
        place[last] = _toml_value(value)


def _step_into(place: Any, key: str, change: str) -> Any:
    if isinstance(place, list):
        return place[_position(place, key, change)]
    if not isinstance(place.setdefault(key, {}), dict | list):
        raise RecipeError(f"--set {change}: {key!r} is a value, not a section. Set it as a whole.")
    return place[key]


def _position(entries: list[Any], key: str, change: str) -> int:
    if not key.isdigit() or int(key) >= len(entries):
        raise RecipeError(f"--set {change}: {key!r} is no entry of a list of {len(entries)}. Count from 0.")
    return int(key)


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _read(name: str) -> tuple[str, str]:
    if name.endswith(".toml"):
        try:
            return Path(name).read_text(encoding="utf-8"), name
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"Recipe {name} cannot be read: {error}. Give the path of a TOML file.") from error
    if name not in recipe_names():
        raise RecipeError(f"No recipe {name!r}. {nearest_name(name, recipe_names())} Or give the path of a .toml file.")
    return (resources.files("litepose") / "recipes" / f"{name}.toml").read_text(encoding="utf-8"), repr(name)


def _explain(error: dict[str, Any]) -> str:
    """Return one pydantic error as a sentence with the key's full path."""
    path = [str(part) for part in error["loc"]]
    where = ".".join(path)
    if error["type"] == "extra_forbidden":
        return f"unknown key {where}. {nearest_name(path[-1], _known_keys(path[:-1]))}"
    if error["type"] == "missing":
        return f"{where} is missing. A recipe states every number; add it."
    reason = error["msg"].removesuffix(".")
    return f"{where} = {error['input']!r} is impossible: {reason}. Correct it." if path else f"{reason}. Correct it."


def _known_keys(path: list[str]) -> list[str]:
    section: type[pydantic.BaseModel] = Recipe
    for key in path:
        if not key.isdigit():
            section = _section_type(section.model_fields[key].annotation)
    return list(section.model_fields)


def _section_type(annotation: Any) -> type[pydantic.BaseModel]:
    """Return the section inside an annotation like `tuple[TrainEntry, ...]` or `ValidationEntry | None`."""
    candidates = (annotation, *getattr(annotation, "__args__", ()))
    return next(one for one in candidates if isinstance(one, type) and issubclass(one, pydantic.BaseModel))
