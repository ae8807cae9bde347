"""A hand-made network that finds people painted as dots: the whole way from picture to people, with known truth.

A keypoint is a square patch: its red level says which keypoint, its green level which person, its blue level is the
heat, highest in the middle. The graph: heat of keypoint k = blue * relu(1 - |red - level_k| / half a step), tag =
green, both pooled to the strides of the AE codec (two outputs of 4 and 2 px, tags in the first).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from litepose.codecs import AECodec, HeatmapCodec
from litepose.poses import Poses
from litepose.skeleton import COCO17
from litepose.spec import SPEC_KEY, InputSpec, OutputSpec, PoseSpec

SKELETON = COCO17
K = SKELETON.num_keypoints
LEVELS = np.round(255 * np.arange(1, K + 1) / (K + 1)).astype(np.uint8)  # red of keypoint k
PERSON_STEP = 20  # green levels between two people
TAG_GAIN = 255 * 3 / PERSON_STEP  # neighbours' tags lie 3 apart; the codec joins below 1


def dot_spec(*, size: tuple[int, int] = (256, 256), resize: str = "short_side", **codec_settings) -> PoseSpec:
    codec = AECodec(**codec_settings)
    strides = codec.strides()
    return PoseSpec(
        model="dots",
        skeleton=SKELETON,
        codec=codec,
        input=InputSpec(size=size, resize=resize, mean=(0, 0, 0), std=(1, 1, 1)),
        outputs=tuple(
            OutputSpec(f"maps{i}", stride, channels)
            for i, (stride, channels) in enumerate(zip(strides, codec.channels(SKELETON), strict=True))
        ),
        provenance={"licence": "MIT"},
    )


def crop_spec(*, size: tuple[int, int] = (192, 256), resize: str = "box", **codec_settings) -> PoseSpec:
    """Return the spec of a top-down model: it reads the one person of each crop and knows no tags."""
    rule = InputSpec(size=size, resize=resize, mean=(0, 0, 0), std=(1, 1, 1))
    udp = {"encoding": "udp"} if resize == "box_udp" else {}
    codec = HeatmapCodec(**{**udp, **codec_settings})
    outputs = (OutputSpec("maps0", 4, K),)
    return PoseSpec("crops", SKELETON, codec, rule, outputs, provenance={"licence": "MIT"})


def write_crop_model(path: Path, *, spec: PoseSpec | None = None) -> Path:
    """Write the network of `crop_spec`: the heat of every fourth input pixel, or of UDP's places, which are spread."""
    spec = spec or crop_spec()
    grid = {"mode": "linear", "coordinate_transformation_mode": "align_corners" if spec.codec.udp else "asymmetric"}
    constants = {
        "levels": (LEVELS / 255).astype(np.float32).reshape(1, -1, 1, 1),
        "gain": np.float32(2 * (K + 1)),
        "one": np.float32(1),
        "quarter": np.float32([1, 1, 0.25, 0.25]),
    }
    nodes = [*_heat_nodes("image"), helper.make_node("Resize", ["heat", "", "quarter"], ["maps0"], **grid)]
    _save(path, nodes, {"maps0": K}, constants, ["batch", 3, "height", "width"], "image", {SPEC_KEY: spec.to_json()})
    return path


def write_dot_model(
    path: Path,
    *,
    spec: PoseSpec | None = None,
    batch: int | str = "batch",
    size: tuple[int, int] | None = None,
    metadata: dict[str, str] | None = None,
    channels: int = K,
    input_name: str = "image",
) -> Path:
    """Write the network; the keywords make files that differ from their spec. `metadata` replaces the spec's."""
    spec = spec or dot_spec()
    width, height = size or ("width", "height")
    half_step = 0.5 / (K + 1)
    constants = {
        "levels": (LEVELS[:channels] / 255).astype(np.float32).reshape(1, -1, 1, 1),
        "gain": np.float32(1 / half_step),
        "one": np.float32(1),
        "tag_gain": np.full((1, channels, 1, 1), TAG_GAIN, np.float32),
    }
    nodes = [
        *_heat_nodes(input_name),
        helper.make_node("AveragePool", ["heat"], ["heat4"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("AveragePool", ["heat"], ["maps1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("MaxPool", ["green"], ["green4"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Mul", ["green4", "tag_gain"], ["tags4"]),
        helper.make_node("Concat", ["heat4", "tags4"], ["maps0"], axis=1),
    ]
    counts = {"maps0": 2 * channels, "maps1": channels}
    metadata = {SPEC_KEY: spec.to_json()} if metadata is None else metadata
    _save(path, nodes, counts, constants, [batch, 3, height, width], input_name, metadata)
    return path


def _heat_nodes(input_name: str) -> list[onnx.NodeProto]:
    """Return the nodes from the picture to "heat" and "green"."""
    return [
        helper.make_node("Split", [input_name], ["red", "green", "blue"], axis=1, num_outputs=3),
        helper.make_node("Sub", ["red", "levels"], ["off"]),
        helper.make_node("Abs", ["off"], ["distance"]),
        helper.make_node("Mul", ["distance", "gain"], ["steps"]),
        helper.make_node("Sub", ["one", "steps"], ["near"]),
        helper.make_node("Relu", ["near"], ["match"]),
        helper.make_node("Mul", ["match", "blue"], ["heat"]),
    ]


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    counts: dict[str, int],
    constants: dict[str, np.ndarray],
    shape: list[int | str],
    input_name: str,
    metadata: dict[str, str],
) -> None:
    graph = helper.make_graph(
        nodes,
        "dots",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, shape)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], count, f"h{name}", f"w{name}"])
            for name, count in counts.items()
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))


def paint(people: np.ndarray, size: tuple[int, int], *, radius: int = 12) -> np.ndarray:
    """Return a BGR picture of (N, K, 2) people as dots; a keypoint below 0 is left out."""
    image = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    offsets = np.arange(-radius, radius + 1)
    heat = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * (radius / 3) ** 2))
    for n, keypoints in enumerate(people):
        for k, (x, y) in enumerate(np.round(keypoints).astype(int)):
            if x < 0:
                continue
            patch = image[y - radius : y + radius + 1, x - radius : x + radius + 1]
            patch[..., 2], patch[..., 1] = LEVELS[k], PERSON_STEP * (n + 1)
            patch[..., 0] = np.round(255 * heat)
    return image


def lay_out(count: int, size: tuple[int, int], *, radius: int = 12) -> np.ndarray:
    """Return (count, K, 2) keypoints on a grid, so that no two dots touch."""
    cell = 2 * radius + 3
    columns = (size[0] - cell) // cell
    assert count * K <= columns * ((size[1] - cell) // cell), "the picture is too small for that many dots"
    index = np.arange(count * K)
    xy = np.stack([(index % columns + 1) * cell, (index // columns + 1) * cell], axis=-1)
    return xy.reshape(count, K, 2).astype(np.float32)


def by_position(poses: Poses) -> Poses:
    """Return the people ordered by their first keypoint's place (top to bottom, left to right)."""
    return poses[np.lexsort((poses.keypoints[:, 0, 0].round(-1), poses.keypoints[:, 0, 1].round(-1)))]


def with_version(spec: PoseSpec, version: int) -> str:
    return dataclasses.replace(spec, version=version).to_json()


def encode(image: np.ndarray, suffix: str = ".png", settings: Sequence[int] = ()) -> bytes:
    done, data = cv2.imencode(suffix, image, list(settings))
    assert done
    return data.tobytes()
