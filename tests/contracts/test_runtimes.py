"""What every runtime keeps; a new file in `runtimes/` is picked up by itself.

A runtime whose files this suite cannot write (no entry in WRITERS) fails here: give it one. An engine that is not
installed is skipped. A runtime of files for one input size is tried at that size, the others at several.
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
from litepose.converters import converter_of, engine_for
from litepose.errors import LiteposeError, ModelError
from litepose.export import export_model
from litepose.predictor import load
from litepose.spec import PoseSpec
from tiny_model import tiny_network, write_tiny_checkpoint

RUNTIMES = sorted(runtimes.runtime_classes())


def write_exported(path: Path) -> Path:
    """Write the tiny network for the engine of the suffix, for any size where the engine takes that."""
    converter = converter_of(engine_for(path, None))
    return export_model(*tiny_network(), path, dynamic=converter is None or converter.ANY_GRAPH).path


WRITERS = {
    ".onnx": write_exported,
    ".safetensors": write_tiny_checkpoint,
    ".xml": write_exported,
    ".param": write_exported,
    ".tflite": write_exported,
}


def class_of(name: str):
    """Return a runtime's class; skip the test where its engine is not installed."""
    if not runtimes.is_installed(name):
        pytest.skip(f"the engine {name} is not installed: pip install {runtimes.runtime_classes()[name].requires}")
    return runtimes.runtime_classes()[name]


@pytest.fixture(scope="module", params=RUNTIMES)
def opened(request, tmp_path_factory):
    """(path of a tiny model, its runtime) for each runtime."""
    one = class_of(request.param)
    path = WRITERS[one.suffixes[0]](tmp_path_factory.mktemp("model") / f"tiny{one.suffixes[0]}")
    return path, one(path, threads=1)


def batch_of(runtime, count: int, height: int, width: int) -> np.ndarray:
    """Return random inputs of that size, or of the only one that the file takes."""
    width, height = runtime.size or (width, height)
    return np.random.default_rng(0).normal(size=(count, 3, height, width)).astype(np.float32)


def test_it_computes_what_the_network_computes(opened):
    _, runtime = opened
    batch = batch_of(runtime, 2, 64, 96)
    with torch.inference_mode():
        wanted = [output.numpy() for output in tiny_network()[0](torch.from_numpy(batch))]
    for found, expected in zip(runtime(batch), wanted, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())  # float32, another order


def test_its_outputs_are_float32_maps_of_the_spec(opened):
    _, runtime = opened
    assert isinstance(runtime.spec, PoseSpec)
    batch = batch_of(runtime, 1, 32, 64)
    height, width = batch.shape[2:]
    assert [(one.dtype, one.shape) for one in runtime(batch)] == [
        (np.float32, (1, output.channels, height // output.stride, width // output.stride))
        for output in runtime.spec.outputs
    ]


def test_a_batch_is_its_pictures_one_by_one(opened):
    _, runtime = opened
    batch = batch_of(runtime, 3, 64, 64)
    together = runtime(batch)
    for i in range(3):
        for whole, alone in zip(together, runtime(batch[i : i + 1]), strict=True):
            np.testing.assert_allclose(whole[i], alone[0], atol=1e-5 * np.abs(whole).max())  # blocked by batch


def test_many_threads_may_call_at_once(opened):
    _, runtime = opened
    batches = [np.roll(batch_of(runtime, 1, 64, 64), shift, axis=3) for shift in range(8)]
    alone = [runtime(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(runtime, batches))
    for found, wanted in zip(together, alone, strict=True):
        np.testing.assert_array_equal(found[0], wanted[0])


def test_it_takes_arrays_that_are_no_contiguous_memory(opened):
    _, runtime = opened
    batch = batch_of(runtime, 1, 64, 64)
    np.testing.assert_array_equal(runtime(batch[..., ::-1])[1], runtime(batch[..., ::-1].copy())[1])


def test_load_finds_it_by_suffix(opened):
    path, runtime = opened
    predictor = load(path, threads=1)
    assert type(predictor.runtime) is type(runtime)
    assert predictor(np.zeros((50, 70, 3), np.uint8)).skeleton == runtime.spec.skeleton


def test_a_file_for_one_size_refuses_others(opened):
    path, runtime = opened
    if runtime.size is None:
        path = export_model(*tiny_network(), path.with_stem("fixed")).path if path.suffix != ".safetensors" else path
        runtime = type(runtime)(path, threads=1)
    if runtime.size is not None:
        assert runtime.size == (64, 64)
        with pytest.raises(LiteposeError, match="64x64; it was given 96x64"):
            runtime(np.zeros((1, 3, 64, 96), np.float32))


@pytest.mark.parametrize("threads", [0, -1, 10_000])
def test_an_impossible_number_of_threads_is_one_error(opened, threads):
    path, runtime = opened
    with pytest.raises(LiteposeError, match=f"{threads} threads"):
        type(runtime)(path, threads=threads)


@pytest.mark.parametrize("name", RUNTIMES)
def test_it_states_its_facts_and_imports_its_engine_late(name):
    one = runtimes.runtime_classes()[name]
    assert one.suffixes and one.requires and one.package and one.precisions[0] == "f32"
    source = inspect.getsource(importlib.import_module(f"litepose.runtimes.{name}"))
    imported = {line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import ", "from "))}
    assert imported <= {
        "__future__",
        "litepose",
        "numpy",
        "pathlib",
        "typing",
        "collections",
        "threading",
        "importlib",
        "os",
    }


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("content", [b"", b"not a model", bytes(4096)])
def test_a_file_that_is_no_model_is_one_error(name, content, tmp_path):
    one = class_of(name)
    path = tmp_path / f"broken{one.suffixes[0]}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="broken"):
        one(path, threads=1)


def test_an_impossible_device_is_one_error(opened):
    path, runtime = opened
    with pytest.raises(LiteposeError, match="toaster"):
        type(runtime)(path, device="toaster")
