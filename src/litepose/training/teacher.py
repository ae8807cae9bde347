"""A frozen teacher: any ONNX file, cut down to what some of its inner tensors need."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from litepose.errors import MissingPackageError, RecipeError, nearest_name

LISTED = 12  # names that an error offers, of the hundreds that a network has


class Teacher:
    """A frozen network of an ONNX file, cut down to what some of its inner tensors need.

    It computes on the student's device where ONNX Runtime can, else on the CPU. sha256: of the file.
    """

    def __init__(self, path: Path, tensors: Iterable[str], *, device: torch.device) -> None:
        self.path, self.tensors = path, tuple(tensors)
        if not path.is_file():
            raise RecipeError(
                f"The recipe's [hints] teacher is {path}, and there is no such file. Give the path of an ONNX file, "
                "relative to data.root, or leave [hints] out."
            )
        self.sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        self._session = _open(path, self.tensors, device)
        (entry,) = self._session.get_inputs()
        self._input = entry.name
        self._batch = entry.shape[0] if entry.shape and isinstance(entry.shape[0], int) else None

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Map (B, 3, H, W), normalised, to its tensors by name, float32, on the device of the images."""
        parts = images.split(self._batch or len(images))
        found = [self._run(np.ascontiguousarray(part.cpu().numpy())) for part in parts]
        arrays = (np.concatenate(maps) for maps in zip(*found, strict=True))
        maps = {name: torch.from_numpy(array) for name, array in zip(self.tensors, arrays, strict=True)}
        return {name: values.to(images.device).float() for name, values in maps.items()}

    def _run(self, images: np.ndarray) -> list[np.ndarray]:
        try:
            outputs: list[np.ndarray] = self._session.run(list(self.tensors), {self._input: images})
        except Exception as error:  # the engine has a dozen exception classes, all directly below Exception
            raise RecipeError(
                f"The teacher {self.path} cannot look at pictures of shape {images.shape}: {error}. Take one with free "
                "axes, or one made for the recipe's input size."
            ) from error
        return outputs


def near(asked: str, names: Iterable[str]) -> str:
    """Return what `nearest_name` says about the few names that are most alike."""
    return nearest_name(asked, difflib.get_close_matches(asked, list(names), n=LISTED, cutoff=0.0))


def _open(path: Path, tensors: tuple[str, ...], device: torch.device) -> Any:
    """Return an ONNX Runtime session whose outputs are these tensors. Raises RecipeError, MissingPackageError."""
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingPackageError(
            "[hints] needs the package onnx. Install it: pip install 'litepose[train]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # fatal only; errors come as exceptions
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the student computes in between
    providers: list[Any] = ["CPUExecutionProvider"]
    if device.type == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": device.index or 0}))
    try:
        model = onnx.load(str(path))
        _cut(model.graph, tensors, path)
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
    except RecipeError:
        raise
    except Exception as error:  # protobuf's and the engine's have no other class in common
        raise RecipeError(f"The recipe's [hints] teacher {path} is no usable ONNX file: {error}.") from error
    inputs = [entry.name for entry in session.get_inputs()]
    if len(inputs) != 1:
        raise RecipeError(f"The teacher {path} must have one input, the pictures; it has {inputs}. Take another file.")
    return session


def _cut(graph: Any, tensors: tuple[str, ...], path: Path) -> None:
    """Make the tensors an onnx.GraphProto's only outputs, and drop what they do not need, in place."""
    import onnx

    known = {name for node in graph.node for name in node.output if name}
    for name in tensors:
        if name not in known:
            raise RecipeError(f"The recipe's [hints] names a tensor {name!r}; {path} has none. {near(name, known)}")
    needed, nodes = set(tensors), []
    for node in reversed(graph.node):  # each comes after all whose outputs it takes
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(_taken_by(node))
    kept = [weight for weight in graph.initializer if weight.name in needed]
    inputs = [entry for entry in graph.input if entry.name in needed]
    for field, entries in (("node", nodes[::-1]), ("initializer", kept), ("input", inputs)):
        graph.ClearField(field)
        getattr(graph, field).extend(entries)
    graph.ClearField("output")
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in tensors)


def _taken_by(node: Any) -> Iterator[str]:
    """Yield the names of a node's inputs, and of those that the graphs inside it (of a loop, a branch) take."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _taken_by(inner)
