"""People drawn by us: an embedded dataset of scenes with true keypoints, visibility and masks; no download.

`SyntheticPeople(seed=3)[i]` is the same Sample in every process: a scene depends on the seed and its index only.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from litepose import images
from litepose.datasets.synthetic.layout import lay_out
from litepose.datasets.synthetic.pose_files import read_poses
from litepose.datasets.synthetic.scene import draw_scene
from litepose.errors import PictureError, SettingError, nearest_name
from litepose.poses import Sample
from litepose.skeleton import COCO17, Skeleton

OPTIONS = ("people", "seed", "size", "length", "poses", "backgrounds")


class SyntheticPeople:
    """Scenes of drawn people.

    size: (w, h) of the pictures; people: fewest and most people in a scene; poses: a file of real poses to draw (see
    pose_files), else simple priors; backgrounds: a folder of pictures without people, or BGR pictures themselves;
    turned_faces: label eyes, nose and ears on the far side of a head as hidden; else they are left out, as in COCO.
    Keypoints that the drawn figures do not have are marked as not labelled.
    """

    def __init__(
        self, size: tuple[int, int] = (320, 320), people: tuple[int, int] = (0, 12), *, skeleton: Skeleton = COCO17,
        seed: int = 0, length: int = 10000, poses: str | Path | None = None,
        backgrounds: str | Path | Sequence[np.ndarray] | None = None, turned_faces: bool = False,
    ) -> None:  # fmt: skip
        self.size = _checked_pair("size", size, 32, 4096)
        self.people = _checked_pair("people", people, 0, 60)
        if self.people[0] > self.people[1]:
            raise SettingError(
                f"Synthetic people were asked for with people={people[0]}-{people[1]}; no range. Swap the numbers."
            )
        if length < 1:
            raise SettingError(
                f"Synthetic people were asked for with length={length}; a dataset needs at least one scene."
            )
        if seed < 0:
            raise SettingError(f"Synthetic people were asked for with seed={seed}; a seed is 0 or above.")
        self.skeleton = skeleton
        self.seed = seed
        self.turned_faces = turned_faces
        self.name = f"synthetic-{seed}"
        self.ids = range(length)
        self.poses = None if poses is None else read_poses(poses)
        self.backdrops = _open_backdrops(backgrounds)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Sample:
        number = self.ids[index]
        rng = np.random.default_rng([self.seed, number])
        layout = lay_out(rng, self.size, self.people, self.poses)
        return draw_scene(
            rng,
            self.skeleton,
            self.size,
            layout,
            backdrops=self.backdrops,
            turned_faces=self.turned_faces,
            number=number,
        )


def from_options(text: str, skeleton: Skeleton | None = None) -> SyntheticPeople:
    """Open `people=0-12,seed=3,size=320x320,length=1000,poses=FILE,backgrounds=FOLDER`, each of them optional."""
    settings: dict = {}
    for part in filter(None, text.split(",")):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in OPTIONS or not equals:
            raise SettingError(
                f"Synthetic people were asked for with {part!r}. Options are KEY=VALUE, separated by commas. "
                f"{nearest_name(key, OPTIONS)}"
            )
        settings[key] = _read_option(key, value)
    return SyntheticPeople(skeleton=skeleton or COCO17, **settings)


def _read_option(key: str, value: str) -> int | str | tuple[int, int]:
    """Read the value of one option. Raises SettingError."""
    examples = {"people": "0-12 or 4", "size": "320x320 or 320", "seed": "3", "length": "1000"}
    if key in ("poses", "backgrounds"):
        return value
    try:
        numbers = [int(number) for number in value.replace("x", "-").split("-")]
        if key in ("people", "size"):
            first, second = numbers if len(numbers) > 1 else numbers * 2
            return first, second
        (number,) = numbers
        return number
    except ValueError:
        raise SettingError(
            f"Synthetic people were asked for with {key}={value}, which cannot be read. Write for example "
            f"{key}={examples[key]}."
        ) from None


def _checked_pair(name: str, pair: tuple[int, int], low: int, high: int) -> tuple[int, int]:
    if len(pair) != 2 or not all(low <= value <= high for value in pair):
        raise SettingError(f"Synthetic people were asked for with {name}={pair}; both numbers must be {low} to {high}.")
    return int(pair[0]), int(pair[1])


def _open_backdrops(backgrounds: str | Path | Sequence[np.ndarray] | None) -> tuple[np.ndarray, ...]:
    """Return the pictures to stand in front of. Raises PictureError."""
    if backgrounds is None:
        return ()
    if not isinstance(backgrounds, str | Path):
        return tuple(backgrounds)
    try:
        files = images.find([backgrounds])
    except PictureError as error:
        raise PictureError(f"Backgrounds: {error} Name a folder of pictures without people.") from error
    found = []
    for file in files:
        try:
            found.append(images.read(file))
        except PictureError as error:
            warnings.warn(f"background left out: {error}", stacklevel=3)
    if not found:
        raise PictureError(f"Backgrounds: none of the {len(files)} pictures of {backgrounds} can be read.")
    return tuple(found)
