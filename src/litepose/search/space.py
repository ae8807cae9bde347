"""Which LitePose networks a search may choose from, as data; draws, mutation and crossover over them.

Wang et al., CVPR 2022; mit-han-lab/litepose@00b702d (lib/arch_search/arch_manager.py). Theirs is `SPACES["authors"]`,
but with the depths that their supernet and their configs have (6, 8, 10, 10): their sampler stops at 4, 6, 8, 8 and so
never trains what it later cuts. Depths, kernels and expansions may be searched too, one choice for a whole stage.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

import numpy as np

from litepose.errors import ModelError, SettingError, nearest_name

STRIDES = (2, 2, 2, 1)  # of the stages: the only ones that the head fits
SIZE_STEP = 16  # px: the stride of the coarsest map

Number = int | float


@dataclass(frozen=True)
class Gene:
    """One decision: its place in the arch, as messages name it, and what may stand there."""

    name: str
    options: tuple[Number, ...]


@dataclass(frozen=True)
class SearchSpace:
    """The possible values of each decision. A value that is listed twice is drawn twice as often.

    input_sizes: sides of the square input, px. deconv_channels: of each of the three deconvolutions.
    stage_channels, depths: of each of the four stages. kernels, expansions: of any stage.
    """

    name: str
    input_sizes: tuple[int, ...]
    first_channels: tuple[int, ...]
    deconv_channels: tuple[tuple[int, ...], ...]
    stage_channels: tuple[tuple[int, ...], ...]
    depths: tuple[tuple[int, ...], ...]
    kernels: tuple[int, ...] = (7,)
    expansions: tuple[Number, ...] = (6,)

    def __post_init__(self) -> None:
        _check_space(self)

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        """The decisions in the order of `genes_of`."""
        stages = []
        for i, (channels, depths) in enumerate(zip(self.stage_channels, self.depths, strict=True)):
            stage = f"backbone_setting[{i}]"
            stages += [
                Gene(f"{stage}.channel", channels),
                Gene(f"{stage}.num_blocks", depths),
                Gene(f"expansion in {stage}.block_setting", self.expansions),
                Gene(f"kernel in {stage}.block_setting", self.kernels),
            ]
        return (
            Gene("img_size", self.input_sizes),
            Gene("input_channel", self.first_channels),
            *(Gene(f"deconv_setting[{i}]", options) for i, options in enumerate(self.deconv_channels)),
            *stages,
        )

    @property
    def num_archs(self) -> int:
        """How many distinct networks there are."""
        return prod(len(set(gene.options)) for gene in self.genes)

    def largest(self) -> dict[str, Any]:
        """Return the arch with the highest value of every gene: the widest network, of which all others are cut."""
        return self.arch_of([max(gene.options) for gene in self.genes])

    def smallest(self) -> dict[str, Any]:
        """Return the arch with the lowest value of every gene."""
        return self.arch_of([min(gene.options) for gene in self.genes])

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw an arch, every gene for itself."""
        return self.arch_of([_draw(gene, rng) for gene in self.genes])

    def mutate(self, arch: Mapping[str, Any], rng: np.random.Generator, *, probability: float = 0.1) -> dict[str, Any]:
        """Return the arch with each gene drawn anew with `probability`."""
        values = self.genes_of(arch)
        redrawn = rng.random(len(values)) < probability
        genes = zip(self.genes, values, redrawn, strict=True)
        return self.arch_of([_draw(gene, rng) if again else value for gene, value, again in genes])

    def cross(self, one: Mapping[str, Any], other: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return an arch with each gene from either parent. (The authors take sizes and first width from the first.)"""
        pairs = zip(self.genes_of(one), self.genes_of(other), strict=True)
        return self.arch_of([pair[rng.integers(2)] for pair in pairs])

    def shrink(self, arch: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        """Return the arch with one gene, chosen at random, a step lower; the smallest stays as it is."""
        values = list(self.genes_of(arch))
        lower = [[option for option in gene.options if option < v] for gene, v in zip(self.genes, values, strict=True)]
        possible = [i for i, options in enumerate(lower) if options]
        if possible:
            i = possible[rng.integers(len(possible))]
            values[i] = max(lower[i])
        return self.arch_of(values)

    def genes_of(self, arch: Mapping[str, Any]) -> tuple[Number, ...]:
        """Return an arch as values in the order of `genes`. Raises ModelError where it is not in this space."""
        values = _values(arch)
        for gene, value in zip(self.genes, values, strict=True):
            if value not in gene.options or isinstance(value, bool):
                raise ModelError(
                    f"An arch of the search space {self.name!r} was wanted; found {gene.name} {value!r}. "
                    f"Possible there: {_listed(gene.options)}. Take one of these, or another space."
                )
        return values

    def check(self, arch: Mapping[str, Any]) -> None:
        """Raise ModelError, with the gene and its possible values, where the arch is not in this space."""
        self.genes_of(arch)

    def arch_of(self, genes: Sequence[Number]) -> dict[str, Any]:
        """Return the arch, in the authors' JSON layout, of values in the order of `genes`."""
        size, first, *rest = genes
        deconvs, stages = rest[:3], [rest[i : i + 4] for i in range(3, len(rest), 4)]
        return {
            "img_size": size,
            "input_channel": first,
            "deconv_setting": list(deconvs),
            "backbone_setting": [
                {
                    "num_blocks": depth,
                    "stride": stride,
                    "channel": channels,
                    "block_setting": [[expansion, kernel] for _ in range(int(depth))],
                }
                for stride, (channels, depth, expansion, kernel) in zip(STRIDES, stages, strict=True)
            ],
        }

    def to_json(self) -> dict[str, Any]:
        """Return the space as `space_from_json` takes it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain


def space_from_json(data: str | Mapping[str, Any]) -> SearchSpace:
    """Return the space of this name, or the one whose lists are given. Raises SettingError."""
    if isinstance(data, str):
        if data not in SPACES:
            raise SettingError(f"No search space {data!r}. {nearest_name(data, SPACES)} Or give its lists.")
        return SPACES[data]
    if not isinstance(data, Mapping):
        raise SettingError(f"A search space is a name or a table of lists; found {data!r}. {nearest_name('', SPACES)}")
    known = [field.name for field in fields(SearchSpace)]
    for key in data:
        if key not in known:
            raise SettingError(f"A search space has no {key!r}. {nearest_name(str(key), known)}")
    for key in known:
        if key not in (*data, "name", "kernels", "expansions"):
            raise SettingError(f"A search space needs {', '.join(known[1:6])}; {key!r} is missing. Add it.")
    return SearchSpace(**{"name": "own", **{key: _frozen(value) for key, value in data.items()}})


def arch_key(arch: Mapping[str, Any]) -> str:
    """Return a text that two archs share exactly when they are the same network."""
    return json.dumps(arch, sort_keys=True, separators=(",", ":"))


def every_arch(space: SearchSpace) -> list[dict[str, Any]]:
    """Return all networks of a (small) space."""
    return [space.arch_of(values) for values in product(*(sorted(set(gene.options)) for gene in space.genes))]


def _values(arch: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what stands at the place of each gene. Raises ModelError where there is no such place."""
    try:
        deconvs, stages = list(arch["deconv_setting"]), list(arch["backbone_setting"])
        if len(deconvs) != 3 or len(stages) != len(STRIDES):
            raise ModelError(
                f"An arch has 3 widths in deconv_setting and {len(STRIDES)} stages in backbone_setting; found "
                f"{len(deconvs)} and {len(stages)}. Compare the file with those that a search writes."
            )
        values = [arch["img_size"], arch["input_channel"], *deconvs]
        for i, stage in enumerate(stages):
            values += [stage["channel"], stage["num_blocks"], *_shared_block(stage, f"backbone_setting[{i}]", i)]
    except (KeyError, TypeError) as error:
        raise ModelError(
            "An arch is a JSON object with img_size, input_channel, deconv_setting and backbone_setting, a list of "
            f"objects with num_blocks, stride, channel and block_setting; this one is not ({error!r}). "
            "Compare the file with those that a search writes."
        ) from error
    return tuple(values)


def _shared_block(stage: Mapping[str, Any], where: str, i: int) -> tuple[Any, Any]:
    """Return (expansion, kernel) of all blocks of a stage."""
    blocks = [tuple(block) for block in stage["block_setting"]]
    if stage["stride"] != STRIDES[i]:
        raise ModelError(f"{where} of the arch has stride {stage['stride']!r}; the head fits only {STRIDES[i]} there.")
    if len(blocks) != stage["num_blocks"] or not blocks:
        raise ModelError(
            f"{where} of the arch says num_blocks {stage['num_blocks']!r}; its block_setting lists {len(blocks)}. "
            "Both must be the same, and at least 1."
        )
    if len(set(blocks)) != 1 or len(blocks[0]) != 2:
        raise ModelError(
            f"In {where} of the arch block_setting must repeat one [expansion, kernel] for the whole stage, as a "
            f"search space chooses them; found {sorted(set(blocks))}."
        )
    return blocks[0]


def _check_space(space: SearchSpace) -> None:
    for key, count in (("deconv_channels", 3), ("stage_channels", len(STRIDES)), ("depths", len(STRIDES))):
        lists = getattr(space, key)
        if not isinstance(lists, tuple) or len(lists) != count or not all(isinstance(one, tuple) for one in lists):
            raise SettingError(f"{key} of a search space must be {count} lists of numbers; found {lists!r}.")
    for key in ("input_sizes", "first_channels", "kernels", "expansions"):
        if not isinstance(getattr(space, key), tuple):
            raise SettingError(f"{key} of a search space must be a list of numbers; found {getattr(space, key)!r}.")
    for gene in space.genes:
        if not gene.options:
            raise SettingError(f"The search space {space.name!r} has nothing to choose from for {gene.name}.")
        for value in gene.options:
            _check_option(space, gene.name, value)


def _check_option(space: SearchSpace, name: str, value: Any) -> None:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if name.startswith("expansion"):
        wanted, fits = "a positive number", (whole or isinstance(value, float)) and value > 0
    elif name.startswith("kernel"):
        wanted, fits = "an odd whole number", whole and value > 0 and value % 2 == 1
    elif name == "img_size":
        wanted, fits = f"a multiple of {SIZE_STEP}", whole and value > 0 and value % SIZE_STEP == 0
    else:
        wanted, fits = "a positive whole number", whole and value > 0
    if not fits:
        raise SettingError(f"The search space {space.name!r} lists {value!r} for {name}; {wanted} is possible there.")


def _draw(gene: Gene, rng: np.random.Generator) -> Number:
    return gene.options[rng.integers(len(gene.options))]


def _listed(options: Sequence[Number]) -> str:
    return ", ".join(str(option) for option in sorted(set(options)))


def _frozen(value: Any) -> Any:
    return tuple(_frozen(one) for one in value) if isinstance(value, list | tuple) else value


# The widest network's widths times 1, 0.75, 0.5, 0.25, made divisible by 8; 24 * 0.75 becomes 24 again.
_WIDTHS: dict[str, Any] = {
    "first_channels": (24, 24, 16, 8),
    "deconv_channels": ((64, 48, 32, 16), (48, 40, 24, 16), (32, 24, 16, 8)),
    "stage_channels": ((32, 24, 16, 8), (64, 48, 32, 16), (96, 72, 48, 24), (160, 120, 80, 40)),
}

SPACES = {
    # Its mobile.yaml: deconvolutions 64, 48, 32. The published M and L (64, 40, 32) are in it.
    "authors": SearchSpace(
        name="authors",
        input_sizes=(256, 320, 384, 448, 512),
        depths=((6,), (8,), (10,), (10,)),
        **_WIDTHS,
    ),
    "ours": SearchSpace(
        name="ours",
        input_sizes=(256, 320, 384, 448, 512),
        depths=((2, 4, 6), (4, 6, 8), (4, 7, 10), (4, 7, 10)),
        kernels=(3, 5, 7),
        expansions=(4, 6),
        **_WIDTHS,
    ),
    # Around litepose_xs, for inputs and supernets that a CPU can train.
    "small": SearchSpace(
        name="small",
        input_sizes=(128, 160, 192, 224),
        first_channels=(8, 16),
        deconv_channels=((16, 24, 32), (16, 24), (16, 24)),
        stage_channels=((8, 16), (16, 24, 32), (24, 32, 48), (40, 64, 80)),
        depths=((2, 4, 6), (4, 6, 8), (4, 7, 10), (4, 7, 10)),
    ),
}
