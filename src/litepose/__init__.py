"""litepose: pictures go in, people come out; annotated pictures go in, small fast networks come out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from litepose.errors import LiteposeError
    from litepose.geometry import Warp
    from litepose.poses import Poses, Sample
    from litepose.predictor import Predictor, load
    from litepose.skeleton import COCO17, CROWDPOSE14, MPII16, OPENPOSE18, Skeleton
    from litepose.spec import PoseSpec

# Public name -> module that owns it; loaded on first use (PEP 562), so `import litepose` stays light.
_OWNERS = {
    "COCO17": "skeleton",
    "CROWDPOSE14": "skeleton",
    "MPII16": "skeleton",
    "OPENPOSE18": "skeleton",
    "LiteposeError": "errors",
    "PoseSpec": "spec",
    "Poses": "poses",
    "Predictor": "predictor",
    "Sample": "poses",
    "Skeleton": "skeleton",
    "Warp": "geometry",
    "load": "predictor",
}

__all__ = [
    "COCO17",
    "CROWDPOSE14",
    "MPII16",
    "OPENPOSE18",
    "LiteposeError",
    "PoseSpec",
    "Poses",
    "Predictor",
    "Sample",
    "Skeleton",
    "Warp",
    "__version__",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _OWNERS:
        raise AttributeError(f"module 'litepose' has no attribute {name!r}")
    return getattr(importlib.import_module(f"litepose.{_OWNERS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
