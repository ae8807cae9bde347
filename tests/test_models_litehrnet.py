"""Lite-HRNet beyond the parity numbers: the pyramid, first weights, running statistics, exports, settings."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from litepose import checkpoints, models
from litepose.errors import SettingError
from litepose.export import example_input, export_onnx
from litepose.models.layers import fuse_batchnorm
from litepose.models.litehrnet import TWICE_MOMENTUM, FusedModule, LiteBlock, interleave
from litepose.runtimes import open_runtime
from litepose.skeleton import COCO17


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def trained(name: str) -> nn.Module:
    """Return a network whose maps are of order one, as training leaves it."""
    torch.manual_seed(0)
    network = models.build(name, num_keypoints=17)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 0.5)  # with 1 the maps grow from module to module
            module.momentum = 1.0
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))  # leaves its statistics
    return network.eval()


def test_interleave_is_concatenation_and_channel_shuffle():
    a, b = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    shuffled = torch.cat((a, b), dim=1).reshape(2, 2, 3, 4, 5).transpose(1, 2).reshape(2, 6, 4, 5)
    assert torch.equal(interleave(a, b), shuffled)


def test_features_are_two_pyramids_of_the_same_pictures():
    network = trained("litehrnet_naive_18")
    images = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        refined, branches = network.features(images)
        (heatmaps,) = network(images)
        assert torch.equal(network.final(refined[0]), heatmaps)
    assert [tuple(x.shape[1:]) for x in refined] == [(30, 24, 16), (30, 12, 8), (60, 6, 4), (120, 3, 2)]
    assert [tuple(x.shape[1:]) for x in branches] == [(30, 24, 16), (60, 12, 8), (120, 6, 4), (240, 3, 2)]


def test_first_weights_are_those_of_the_authors():
    torch.manual_seed(0)
    network = models.build("litehrnet_18", num_keypoints=17)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 1000:
            assert float(module.weight.detach().std()) == pytest.approx(0.001, rel=0.15)
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            assert not module.bias.any()


def test_a_gradient_reaches_every_parameter_of_the_lite_blocks():
    torch.manual_seed(0)
    network = models.build("litehrnet_18", num_keypoints=17)
    network(torch.randn(2, 3, 64, 128))[0].square().mean().backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_the_paths_run_once_keep_statistics_and_gradients_of_the_authors_two_runs():
    """The authors call what leads down from the first branch twice; the second call repeats the first."""
    torch.manual_seed(0)
    ours = FusedModule((16, 32), LiteBlock)
    theirs = FusedModule((16, 32), LiteBlock)
    theirs.load_state_dict(ours.state_dict())
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    down = theirs.inflows[1].paths[0]
    theirs.inflows[1].paths[0] = Halved(down)
    maps = [torch.randn(4, 16, 8, 8), torch.randn(4, 32, 4, 4)]
    for network in (ours, theirs):
        sum(y.square().sum() for y in network(maps)).backward()
    here = ours.inflows[1].paths[0]
    for (name, a), b in zip(here.named_parameters(), down.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-4, msg=name)  # float32 sums
    for a, b in zip(here.modules(), down.modules(), strict=True):
        if isinstance(a, nn.BatchNorm2d):
            assert a.momentum == TWICE_MOMENTUM
            torch.testing.assert_close(a.running_mean, b.running_mean)
            torch.testing.assert_close(a.running_var, b.running_var)


class Halved(nn.Module):
    """Half the sum of two runs, which `Inflow` doubles."""

    def __init__(self, path: nn.Module) -> None:
        super().__init__()
        self.path = path

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.path(x) + self.path(x)) / 2


def test_only_what_leads_down_from_the_first_branch_has_the_quicker_statistics():
    network = models.build("litehrnet_naive_18", num_keypoints=17)
    quick = {n for n, m in network.named_modules() if isinstance(m, nn.BatchNorm2d) and m.momentum == TWICE_MOMENTUM}
    assert len(quick) == 2 * (2 * 1 + 4 * 3 + 2 * 6)  # modules times steps down from the first branch, two norms each
    assert all(".paths.0." in name and ".inflows.0." not in name for name in quick)


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", ["litehrnet_18", "litehrnet_naive_18"])
def test_exports_compute_the_same_and_hold_no_traced_sizes(name, dynamic, tmp_path):
    network, spec = trained(name), checkpoints.default_spec(name, COCO17, size=(64, 96))
    report = export_onnx(network, spec, tmp_path / "x.onnx", dynamic=dynamic)
    assert report.max_error < 1e-4 * report.largest  # float32 in another order, ~300 layers
    model = onnx.load(str(report.path))
    kinds = [node.op_type for node in model.graph.node]
    assert "Slice" not in kinds and "BatchNormalization" not in kinds
    if not dynamic:
        assert not {"Shape", "Gather"} & set(kinds)
        return
    batch = np.concatenate([example_input(spec.input, (128, 64), seed=seed) for seed in (1, 2, 3)])
    (found,) = open_runtime(report.path, threads=1)(batch)
    with torch.no_grad():
        wanted = fuse_batchnorm(network)(torch.from_numpy(batch))[0].numpy()
    assert found.shape == (3, 17, 16, 32)
    np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"block": "light"}, "Did you mean 'lite'"),
        ({"channels": 15}, "even number of channels"),
        ({"channels": 4}, "8 or more"),
        ({"depths": (2, 4)}, "3 depths"),
        ({"depths": (2, 0, 2)}, "each 1 or more"),
    ],
)
def test_impossible_shapes_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        models.build("litehrnet_18", num_keypoints=17, **settings)
