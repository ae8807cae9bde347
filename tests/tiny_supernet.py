"""A search space so small that its supernet computes in milliseconds: widths, depths and kernels to choose from."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from litepose import checkpoints
from litepose.search.space import SearchSpace, space_from_json
from litepose.skeleton import COCO17
from litepose.supernet import SPACE_KEY, Supernet
from litepose.training.recipe import Recipe
from tiny_recipe import tiny_recipe

LISTS: dict[str, Any] = {
    "name": "tiny",
    "input_sizes": [64, 96],
    "first_channels": [8, 16],
    "deconv_channels": [[8, 16], [8, 16], [8, 16]],
    "stage_channels": [[8, 16], [8, 16], [8, 16], [8, 24]],
    "depths": [[1, 2], [1, 2], [1, 2], [1, 2]],
    "kernels": [3, 5, 7],
    "expansions": [1, 2],
}
SPACE: SearchSpace = space_from_json(LISTS)


def tiny_supernet(space: SearchSpace = SPACE, *, seed: int = 0) -> Supernet:
    """Return one with random weights, kernel maps and batch statistics, in eval mode."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    spec = checkpoints.default_spec("litepose_super", COCO17, arch=space.largest(), kernels=space.kernels)
    network = checkpoints.build_network(spec.with_provenance(**{SPACE_KEY: space.to_json()})).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.5)
        elif isinstance(module, nn.Linear):  # away from the identity
            nn.init.normal_(module.weight, 0, 0.3)
            nn.init.normal_(module.bias, 0, 0.1)
    return Supernet(network, spec.with_provenance(**{SPACE_KEY: space.to_json()}))


def tiny_supernet_recipe(supernet: dict[str, Any] | None = None, **changes: dict[str, Any]) -> Recipe:
    """Return a recipe for it; supernet: keys of its section that differ."""
    section = {"space": LISTS, "sampling": "sandwich", "random": 1, "calibration_batches": 2, **(supernet or {})}
    model = {"name": "litepose_super", "size": [96, 96], **changes.pop("model", {})}
    return tiny_recipe(model=model, supernet=section, **changes)
