"""A recipe so small that a whole training takes a second or two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from litepose.training.recipe import Recipe, parse_recipe

NO_AUGMENTATION = {"zoom": [1.0, 1.0], "rotation_deg": 0.0, "translate_px": 0.0, "mirror": 0.0}


def tiny_recipe(**changes: dict[str, Any]) -> Recipe:
    """Return it with the keys of whole sections changed: run={"epochs": 3}."""
    data: dict[str, Any] = {
        "model": {"name": "litepose_xs", "skeleton": "coco17", "size": [64, 64]},
        "codec": {"name": "ae"},
        "loss": {
            "push": "exp", "heatmap_factors": [1.0, 1.0], "push_factor": 1e-3, "pull_factor": 1e-3,
            "foreground_weight": 12.0,
        },
        "data": {"root": "data", "train": [{"source": "synthetic:people=1-2,seed=1,size=64,length=40", "weight": 1.0}]},
        "augment": {"geometric": {"zoom": [0.8, 1.2]}, "photometric": {}},
        "optim": {
            "name": "adamw", "lr": 1e-3, "weight_decay": 0.01, "warmup_steps": 2, "warmup_from": 0.1,
            "schedule": "cosine", "clip_norm": 1.0, "ema_decay": 0.99,
        },
        "run": {
            "epochs": 2, "epoch_samples": 6, "batch": 2, "workers": 0, "threads": 1, "seed": 7, "precision": "fp32",
            "channels_last": False, "log_steps": 1, "evaluate_epochs": 0, "checkpoint_minutes": 10.0, "bad_steps": 3,
        },
    }  # fmt: skip
    for section, keys in changes.items():
        data[section] = {**data.get(section, {}), **keys}
    return parse_recipe(data, "tiny")


def written(recipe: Recipe, folder: Path) -> Path:
    """Write the recipe to a file and return its path."""
    path = folder / "tiny.toml"
    path.write_text(recipe.to_toml(), encoding="utf-8")
    return path
