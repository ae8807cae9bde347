"""Exported files become checkpoints again, from which training goes on as from the network that was exported."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from contracts.test_families import with_statistics
from dot_model import write_dot_model
from litepose import checkpoints, unfolding, weights
from litepose.errors import CheckpointError, ExportError, ModelError
from litepose.export import example_input, export_onnx
from litepose.export_norms import NORMS_KEY, norms_of
from litepose.runtimes.onnx import OnnxRuntime
from litepose.skeleton import COCO17
from litepose.spec import PoseSpec
from tiny_model import tiny_network

HALF = 2.0**-9  # three roundings to half precision, 2^-11 each: of the folded number, and of weight and deviation


@pytest.fixture(scope="module")
def tiny():
    return tiny_network()


def exported(network: nn.Module, spec: PoseSpec, folder: Path, **settings) -> Path:
    return export_onnx(network, spec, folder / "model.onnx", trainable=True, **settings).path


def network_of(path: Path) -> nn.Module:
    state, spec = unfolding.load(path)
    network = checkpoints.build_network(spec)
    network.load_state_dict(state)
    return network.eval()


def images_of(spec: PoseSpec, count: int = 4) -> torch.Tensor:
    pictures = [example_input(spec.input, spec.input.size, seed=seed) for seed in range(count)]
    return torch.from_numpy(np.concatenate(pictures))


def assert_same_state(found: nn.Module, wanted: nn.Module) -> None:
    own = found.state_dict()
    assert own.keys() == wanted.state_dict().keys()
    for name, tensor in wanted.state_dict().items():
        if name.endswith("running_mean"):
            continue  # what other roundings leave over, of which the outputs tell
        assert torch.allclose(own[name], tensor, rtol=0, atol=HALF * float(tensor.abs().max())), name


def assert_near(found: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...], share: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        assert float((one - other).abs().max()) <= share * float(other.abs().max())


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("half_weights", [False, True])
def test_a_checkpoint_comes_back_within_half_precision(tiny, tmp_path, dynamic, half_weights):
    network, spec = tiny
    found = network_of(exported(network, spec, tmp_path, dynamic=dynamic, half_weights=half_weights))
    assert_same_state(found, network)
    with torch.no_grad():
        assert_near(found(images_of(spec)), network(images_of(spec)), 5e-3)


def test_what_comes_back_computes_the_same_as_the_file(tiny, tmp_path):
    path = exported(*tiny, tmp_path, half_weights=True)
    images = images_of(tiny[1])
    with torch.no_grad():
        found = network_of(path)(images)
    wanted = tuple(map(torch.from_numpy, OnnxRuntime(path, threads=1)(images.numpy())))
    assert_near(found, wanted, 1e-5)  # float32 in another order


def test_normalisation_trains_on_as_the_original_does(tiny, tmp_path):
    network, spec = copy.deepcopy(tiny[0]).train(), tiny[1]
    found = network_of(exported(*tiny, tmp_path, half_weights=True)).train()
    images, losses, gradients = images_of(spec), [], []
    with torch.no_grad():
        assert_near(found(images), network(images), 2e-2)  # half-precision weights, through statistics of four pictures
    for one in (network, found):
        loss = sum(output.square().mean() for output in one(images))
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in one.parameters()]))
    assert np.isfinite(losses).all() and losses[1] == pytest.approx(losses[0], rel=1e-2)
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.999
    for one, other in zip(norms_of(found), norms_of(network), strict=True):  # moved by the same batches
        np.testing.assert_allclose(one.running_var, other.running_var, rtol=2e-2, atol=1e-4)


@pytest.mark.parametrize("way", [{}, {"plain": True}])
def test_a_rewritten_network_comes_back_and_a_plain_one(way, tmp_path):
    """What the families' contract leaves out: Lite-HRNet's channel weights, and networks that could be rewritten."""
    torch.set_num_threads(1)
    spec = checkpoints.default_spec("litehrnet_18", COCO17, size=(64, 64), channels=20, depths=(1, 1, 1))
    network = with_statistics(checkpoints.build_network(spec)).eval()
    assert_same_state(network_of(exported(network, spec, tmp_path, half_weights=True, **way)), network)


def test_what_a_weight_of_zero_hid_starts_afresh(tmp_path):
    network, spec = tiny_network(seed=5)
    with torch.no_grad():
        norms_of(network)[2].weight[1:3] = 0
    path = exported(network, spec, tmp_path)
    found = network_of(path)
    assert not norms_of(found)[2].weight[1:3].any()
    own, wanted = found.state_dict(), network.state_dict()
    differing = [
        name
        for name, tensor in wanted.items()
        if not name.endswith("running_mean")
        and not torch.allclose(own[name], tensor, rtol=0, atol=HALF * float(tensor.abs().max()))
    ]
    assert len(differing) == 1 and float(own[differing[0]][1:3].std()) > 0
    assert torch.equal(own[differing[0]], network_of(path).state_dict()[differing[0]])  # the same start each time
    with torch.no_grad():
        assert_near(found(images_of(spec)), network(images_of(spec)), 5e-3)


@pytest.mark.parametrize("name", weights.names())
def test_every_shipped_model_is_a_start_for_training(name):
    state, spec = unfolding.load(weights.path_of(name))
    assert name.startswith(spec.model) and spec.provenance["metrics"]  # variants of a network are named after it
    checkpoints.load_state(checkpoints.build_network(spec), state)
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_models_ship_as_onnx_files_alone_and_small():
    files = [path for path in weights.FOLDER.iterdir() if path.suffix not in (".py", "") and path.is_file()]
    assert {path.name for path in files} == {*(f"{name}.onnx" for name in weights.names()), "pictures.json"}
    assert sum(path.stat().st_size for path in files) <= 20e6


def changed(path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    return path


def without_norms(model: onnx.ModelProto) -> None:
    kept = [(one.key, one.value) for one in model.metadata_props if one.key != NORMS_KEY]
    onnx.helper.set_model_props(model, dict(kept))


def with_norms(text: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        properties = {one.key: one.value for one in model.metadata_props}
        onnx.helper.set_model_props(model, {**properties, NORMS_KEY: text})

    return change


def renamed(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    for node in model.graph.node:
        node.input[:] = ["other" if name == weight.name else name for name in node.input]
    weight.name = "other"


def not_a_number(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32("nan"), weight.name))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_norms, "folded into the convolutions.*--trainable"),
        (with_norms("{"), "does not fit the network's .* normalisations"),
        (with_norms('{"weight": "", "bias": "", "deviation": ""}'), "0 channels"),
        (renamed, "another version made it"),
        (not_a_number, "differs from the file by up to nan"),
    ],
)
def test_a_file_that_does_not_tell_its_weights_is_refused(tiny, tmp_path, change, words):
    path = changed(exported(*tiny, tmp_path), change)
    with pytest.raises(CheckpointError, match=words) as caught:
        unfolding.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda tensor: tensor[0].fill_(7), "other constants"),
        (lambda tensor: tensor.add_(tensor.flip(0)), "mixes numbers"),
        (lambda tensor: tensor[0].copy_(tensor[1]), "numbers are not in it"),
    ],
)
def test_a_rewrite_that_is_no_rearrangement_is_refused(tiny, tmp_path, monkeypatch, wrong, words):
    path = exported(*tiny, tmp_path)
    plain = unfolding.optimised_for_export

    def rewritten(network: nn.Module, size: tuple[int, int] | None) -> nn.Module:
        other = plain(network, size)
        with torch.no_grad():
            wrong(other.heads[0].refined.pointwise.weight)
        return other

    monkeypatch.setattr(unfolding, "optimised_for_export", rewritten)
    with pytest.raises(CheckpointError, match=words):
        unfolding.load(path)


def test_files_of_other_kinds_are_refused(tiny, tmp_path):
    with pytest.raises(ModelError, match=r"no model file .*gone\.onnx"):
        unfolding.load(tmp_path / "gone.onnx")
    with pytest.raises(CheckpointError, match="folded into the convolutions"):
        unfolding.load(write_dot_model(tmp_path / "dots.onnx"))


def test_ordinary_exports_stay_small(tiny, tmp_path):
    plain = export_onnx(*tiny, tmp_path / "plain.onnx").num_bytes
    trainable = export_onnx(*tiny, tmp_path / "trainable.onnx", trainable=True).num_bytes
    channels = sum(norm.num_features for norm in norms_of(tiny[0]))
    assert 8 * channels <= trainable - plain < 8 * channels + 120  # three halves in base64, and their names


def test_normalisations_beyond_half_precision_are_not_stored(tmp_path):
    network, spec = tiny_network()
    with torch.no_grad():
        norms_of(network)[0].weight[0] = 1e6
    with pytest.raises(ExportError, match="65504"):
        exported(network, spec, tmp_path)
    assert list(tmp_path.iterdir()) == []
