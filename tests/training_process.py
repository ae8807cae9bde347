"""One of several processes of a small training, for test_training_processes: python training_process.py RECIPE OUT.

It keeps what it has after each step in OUT/RANK.pt.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from litepose.distributed import Share, open_share
from litepose.training import loop
from litepose.training.batch_norm import synchronise
from litepose.training.recipe import load_recipe


def freeze_norms(network: nn.Module) -> None:
    """Let normalisations use their kept statistics, so that pictures of a batch do not see each other."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def steps(run: loop.Run, *, frozen: bool, together: int = 1) -> dict[str, list]:
    """Train to the end; return the gradient of the first step, what is equal after each, and the first loss parts."""
    network = run.state.network
    if frozen:
        freeze_norms(network)
    gradients: dict[str, torch.Tensor] = {}
    after, parts = [], []
    for number, batch in enumerate(run.batches()):
        if number == 0:
            values = loop._differentiate(run, batch)
            gradients = {name: one.grad.clone() for name, one in network.named_parameters()}
            statistics = {name: one.clone() for name, one in network.named_buffers()}
            parts.append({name: float(value) for name, value in values.items()})
            run.state.optimizer.zero_grad(set_to_none=True)
        loop._advance(run, batch)
        states = (network.state_dict(), run.state.average.state, run.state.sums)
        after.append([{name: torch.as_tensor(one).clone() for name, one in state.items()} for state in states])
    return {"gradients": gradients, "statistics": statistics, "after": after, "parts": parts}


def norm_layers(share: Share) -> dict[str, torch.Tensor]:
    """Return gradients, statistics and outputs of two normalisations, on this process's part of 8 pictures."""
    torch.manual_seed(3)
    layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 1), nn.BatchNorm2d(4))
    pictures, wanted = torch.randn(8, 3, 9, 7), torch.randn(8, 4, 7, 5)
    if share.count > 1:
        synchronise(layers)
    mine = slice(share.rank * 8 // share.count, (share.rank + 1) * 8 // share.count)
    outputs = layers(pictures[mine])
    (outputs - wanted[mine]).square().mean().backward()
    gradients = {f"gradient of {name}": one.grad for name, one in layers.named_parameters()}
    share.average([one for one in gradients.values() if one is not None])
    eval_outputs = layers.eval()(pictures)
    return {**gradients, **layers.state_dict(), "outputs": outputs.detach(), "eval_outputs": eval_outputs.detach()}


def main(recipe: Path, folder: Path) -> None:
    share = open_share()
    torch.set_num_threads(1)
    kept = {"layers": norm_layers(share)}
    for frozen in (True, False):
        run, _ = loop.set_up(
            load_recipe(recipe), folder / "run", resume=False, start_from=None, device="cpu",
            evaluate=lambda network: {}, share=share,
        )  # fmt: skip
        kept["frozen" if frozen else "free"] = steps(run, frozen=frozen)
    torch.save(kept, folder / f"{share.rank}.pt")
    share.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
