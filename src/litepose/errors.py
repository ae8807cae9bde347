"""Every error that litepose raises for a user's mistake.

    LiteposeError                 the command line prints it as one message and exits with code 2
    ├── PictureError              a picture or folder that cannot be read
    ├── VideoError                a video, camera or stream that cannot be read or written
    ├── AnnotationError           an annotation file that is broken or does not fit
    ├── SkeletonError             an unknown skeleton, or one whose parts contradict each other
    ├── InputSizeError            a network input size that cannot work
    ├── SettingError              an option or argument with an impossible value
    │   └── RecipeError           the same inside a recipe file
    ├── ModelError                a model name or file that cannot be used
    │   ├── SpecError             a model file without a (readable) pose spec
    │   └── CheckpointError       weights that are unsafe, broken or do not fit the network
    ├── MissingPackageError       an optional package is needed and absent
    ├── ExportError               an exported file that does not compute what the network computes
    └── TrainingError             a training that cannot go on

Each message says, in this order: what was asked, what was found, what is possible, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LiteposeError(Exception):
    """Base of all errors that are the input's fault, not the program's."""


class PictureError(LiteposeError):
    """A picture or folder cannot be read."""


class VideoError(LiteposeError):
    """A video, camera or stream cannot be read or written."""


class AnnotationError(LiteposeError):
    """An annotation file is broken or does not fit what was asked."""


class SkeletonError(LiteposeError):
    """A skeleton is unknown or contradicts itself."""


class InputSizeError(LiteposeError):
    """A network input size cannot work."""


class SettingError(LiteposeError):
    """An option or argument has an impossible value."""


class RecipeError(SettingError):
    """A recipe file has an unknown key or an impossible value."""


class ModelError(LiteposeError):
    """A model name or file cannot be used."""


class SpecError(ModelError):
    """A model file holds no pose spec, or one that cannot be read."""


class CheckpointError(ModelError):
    """Weights are unsafe to open, broken, or do not fit the network."""


class MissingPackageError(LiteposeError):
    """An optional package is needed and not installed."""


class ExportError(LiteposeError):
    """An exported model does not compute what the network computes."""


class TrainingError(LiteposeError):
    """A training cannot go on."""


def nearest_name(asked: str, possible: Iterable[str]) -> str:
    """Say which of the `possible` names was probably meant, as the end of an error message."""
    names = sorted(possible)
    close = difflib.get_close_matches(asked, names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"Possible: {', '.join(names) or 'nothing'}.{hint}"
