"""Fine-tuning on one's own annotated people without a recipe: it is made of the model, the file and the package's own.

The numbers of the training are those of a recipe of the package, one for each paradigm; the model's spec says what its
network, codec and input are; the annotation file's category says which keypoints there are. The recipe that comes out
is as complete as any.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litepose import checkpoints, importing, weights
from litepose.codecs import Codec, codec_to_json
from litepose.errors import ModelError
from litepose.runtimes import open_runtime
from litepose.skeleton import DEFAULT_OKS_SIGMA, SKELETONS, Skeleton, load_skeleton, mirror_pairs, one_sided
from litepose.spec import PoseSpec
from litepose.training.own_files import prepare
from litepose.training.recipe import Recipe, parse_recipe, read_recipe, set_key

RECIPES = {"ae": "own_data_bottom_up", "heatmap": "own_data_top_down"}  # by codec


@dataclass(frozen=True)
class OwnRecipe:
    """The recipe, and what the user should know of how it came about."""

    recipe: Recipe
    notes: tuple[str, ...]


def own_recipe(
    data: str | Path,
    folder: str | Path,
    *,
    model: str | Path,
    images: str | Path | None = None,
    validation: str | None = None,
    category: str | None = None,
    skeleton: str | None = None,
    changes: Iterable[str] = (),
) -> OwnRecipe:
    """Return the recipe by which a model is trained on with one's own annotated people.

    data: a COCO keypoint file; images: the folder of its pictures. folder: of the run; a file of the pictures to train
        on and, where `validation` names none, one of those held out are written there.
    model: a shipped model, a checkpoint or an exported file of litepose's. category: of those of the file, where
        several have keypoints. skeleton: instead of the category's. changes: as in `load_recipe`.
    Raises AnnotationError, ModelError, RecipeError, SkeletonError, SettingError.
    """
    spec = _spec_of(model)
    name = RECIPES[spec.codec.name]
    written, label = read_recipe(name)
    given = None if skeleton is None else load_skeleton(skeleton)
    files = prepare(data, Path(folder), images=images, validation=validation, category=category, skeleton=given)
    wanted = given or files.skeleton
    written["model"] = _model_section(spec, wanted if skeleton is None else skeleton)
    written["codec"] = codec_to_json(_codec_for(spec.codec, spec.skeleton, wanted))
    written["data"] = files.section
    paired = {name for pair in wanted.mirror for name in pair}
    alone = tuple(name for name in one_sided(wanted.keypoints) if name not in paired)
    if alone:
        written["augment"]["geometric"]["mirror"] = 0.0
    for change in changes:
        set_key(written, change)
    recipe = parse_recipe(written, label)
    width, height = recipe.model.size
    first = f"Recipe {name}: {recipe.model.name} from {model}, {width}x{height}."
    return OwnRecipe(recipe, (first, *_notes_of(wanted, alone), *files.notes))


def default_folder(data: str | Path, model: str | Path) -> Path:
    """Return the run folder where none is named."""
    return Path("runs") / f"{Path(data).stem}_{Path(model).stem}"


def _spec_of(model: str | Path) -> PoseSpec:
    """Return what a model says about itself. Raises ModelError where it does not, or there is no recipe for it."""
    path = weights.path_of(model)
    if path.suffix in importing.SUFFIXES:
        raise ModelError(
            f"--from {model} is another project's file, which does not say what network it is for. Bring it in first, "
            f"litepose convert {model} -o model.safetensors, and go on from that, or name a recipe."
        )
    if path.suffix.lower() == ".onnx":
        spec = open_runtime(path, runtime="onnx", threads=1).spec
    else:
        spec = checkpoints.load(path)[1]
        checkpoints.check_is_network(spec, path)
    if not spec.model:
        raise ModelError(f"--from {model} does not name its network, so it cannot be trained on. Take its checkpoint.")
    if spec.codec.name not in RECIPES:
        raise ModelError(
            f"--from {model} is a network for codec {spec.codec.name!r}, for which own data need a recipe: "
            f"litepose train RECIPE --skeleton FILE.json --data FILE.json --from {model}. Without one, bottom-up (ae) "
            "and top-down (heatmap) networks can be trained on."
        )
    return spec


def _model_section(spec: PoseSpec, skeleton: Skeleton | str) -> dict[str, Any]:
    """Return the recipe's [model]: the spec's network and input on a skeleton."""
    settings = {key: value for key, value in spec.network.items() if key not in ("num_keypoints", "num_limbs")}
    if isinstance(skeleton, Skeleton):
        known = SKELETONS.get(skeleton.name) == skeleton
        skeleton_entry: str | Mapping[str, Any] = skeleton.name if known else skeleton.to_json()
    else:
        skeleton_entry = skeleton if skeleton in SKELETONS else str(Path(skeleton).absolute())
    return {
        "name": spec.model,
        "skeleton": skeleton_entry,
        "size": list(spec.input.size),
        "settings": settings,
        "colour": spec.input.colour,
        "mean": list(spec.input.mean),
        "std": list(spec.input.std),
    }


def _codec_for(codec: Codec, old: Skeleton, new: Skeleton) -> Codec:
    """Return the codec with its weights of keypoints, if it has any, for those of another skeleton."""
    factors = getattr(codec, "keypoint_weights", ())
    if not factors:
        return codec
    by_name = dict(zip(old.keypoints, factors, strict=True))
    moved = tuple(by_name.get(name, 1.0) for name in new.keypoints)
    return dataclasses.replace(codec, keypoint_weights=moved)  # type: ignore[type-var, return-value]


def _notes_of(skeleton: Skeleton, alone: tuple[str, ...]) -> list[str]:
    """Return what the user should know of the keypoints: how they mirror, and how exact they are taken to be."""
    notes = [f"Skeleton {skeleton.name!r}: {skeleton.num_keypoints} keypoints, {len(skeleton.limbs)} limbs."]
    pairs = ", ".join(f"{left} - {right}" for left, right in skeleton.mirror)
    how = ", inferred by name" if skeleton.mirror == mirror_pairs(skeleton.keypoints) else ""
    notes.append(f"Mirror pairs{how}: {pairs or 'none, so every keypoint mirrors to itself'}.")
    if alone:
        notes.append(
            f"Warning: {', '.join(alone)}: a side in the name and no partner for it. Pictures are not mirrored, which "
            "would teach wrong sides; rename the keypoints, or give their pairs with --skeleton FILE.json."
        )
    known = {name for one in SKELETONS.values() for name in one.keypoints}
    guessed = [
        name
        for name, sigma in zip(skeleton.keypoints, skeleton.oks_sigmas, strict=True)
        if name not in known and sigma == DEFAULT_OKS_SIGMA
    ]
    if 0 < len(guessed) < skeleton.num_keypoints:  # else the skeleton itself warns
        notes.append(
            f"Warning: OKS sigmas of {', '.join(guessed)} are the default, {DEFAULT_OKS_SIGMA} (a shoulder's), so AP "
            "compares with no published one."
        )
    return notes
