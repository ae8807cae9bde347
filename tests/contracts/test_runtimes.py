"""What every runtime keeps; a new file in `runtimes/` is picked up by itself.

A runtime whose files this suite cannot write (no entry in WRITERS) fails here: give it one.
"""

from __future__ import annotations

import importlib
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from litepose import runtimes
from litepose.errors import LiteposeError, ModelError
from litepose.export import export_onnx
from litepose.predictor import load
from litepose.spec import PoseSpec
from tiny_model import tiny_network, write_tiny_checkpoint

RUNTIMES = sorted(runtimes.runtime_classes())


def write_onnx(path: Path) -> Path:
    return export_onnx(*tiny_network(), path, dynamic=True).path


WRITERS = {".onnx": write_onnx, ".safetensors": write_tiny_checkpoint}


@pytest.fixture(scope="module", params=RUNTIMES)
def opened(request, tmp_path_factory):
    """(path of a tiny model, its runtime) for each runtime."""
    one = runtimes.runtime_classes()[request.param]
    path = WRITERS[one.suffixes[0]](tmp_path_factory.mktemp("model") / f"tiny{one.suffixes[0]}")
    return path, one(path, threads=1)


def batch_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_it_computes_what_the_network_computes(opened):
    _, runtime = opened
    batch = batch_of(2, 3, 64, 96)
    with torch.inference_mode():
        wanted = [output.numpy() for output in tiny_network()[0](torch.from_numpy(batch))]
    for found, expected in zip(runtime(batch), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())  # float32, another order


def test_its_outputs_are_float32_maps_of_the_spec(opened):
    _, runtime = opened
    assert isinstance(runtime.spec, PoseSpec)
    outputs = runtime(batch_of(1, 3, 32, 64))
    assert [(one.dtype, one.shape) for one in outputs] == [
        (np.float32, (1, output.channels, 32 // output.stride, 64 // output.stride)) for output in runtime.spec.outputs
    ]


def test_a_batch_is_its_pictures_one_by_one(opened):
    _, runtime = opened
    batch = batch_of(3, 3, 64, 64)
    together = runtime(batch)
    for i in range(3):
        for whole, alone in zip(together, runtime(batch[i : i + 1]), strict=True):
            np.testing.assert_allclose(whole[i], alone[0], atol=1e-5 * np.abs(whole).max())  # blocked by batch


def test_many_threads_may_call_at_once(opened):
    _, runtime = opened
    batches = [np.roll(batch_of(1, 3, 64, 64), shift, axis=3) for shift in range(8)]
    alone = [runtime(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(runtime, batches))
    for found, wanted in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found[0], wanted[0])


def test_it_takes_arrays_that_are_no_contiguous_memory(opened):
    _, runtime = opened
    batch = batch_of(1, 3, 64, 64)
    np.testing.assert_array_equal(runtime(batch[..., ::-1])[1], runtime(batch[..., ::-1].copy())[1])


def test_load_finds_it_by_suffix(opened):
    path, runtime = opened
    predictor = load(path, threads=1)
    assert type(predictor.runtime) is type(runtime)
    assert predictor(np.zeros((50, 70, 3), np.uint8)).skeleton == runtime.spec.skeleton


@pytest.mark.parametrize("name", RUNTIMES)
def test_it_states_its_facts_and_imports_its_engine_late(name):
    one = runtimes.runtime_classes()[name]
    assert one.suffixes and one.requires
    source = inspect.getsource(importlib.import_module(f"litepose.runtimes.{name}"))
    imported = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imported <= {"__future__", "litepose", "numpy", "pathlib", "typing", "collections"}


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("content", [b"", b"not a model", bytes(4096)])
def test_a_file_that_is_no_model_is_one_error(name, content, tmp_path):
    one = runtimes.runtime_classes()[name]
    path = tmp_path / f"broken{one.suffixes[0]}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="broken"):
        one(path, threads=1)


def test_an_impossible_device_is_one_error(opened):
    path, runtime = opened
    with pytest.raises(LiteposeError, match="toaster"):
        type(runtime)(path, device="toaster")
