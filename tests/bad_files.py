"""How the bad files of test_bad_input.py are made: each maker writes one into the folder it is given."""

from __future__ import annotations

import copy
import json
import pickle
import zlib
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import mpii_files
from dot_model import K, lay_out, write_dot_model
from litepose.skeleton import COCO17

SIZE = (256, 256)
Make = Callable[[Path], Any]


def good_truth() -> dict[str, Any]:
    """One picture with one person."""
    keypoints = lay_out(1, SIZE)[0]
    person = {
        "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "num_keypoints": K, "bbox": [10, 10, 220, 220],
        "area": 20_000.0, "keypoints": np.column_stack([keypoints, np.full(K, 2)]).ravel().tolist(),
    }  # fmt: skip
    return {
        "images": [{"id": 1, "file_name": "1.png", "width": 256, "height": 256}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoints), "skeleton": []}],
    }


def text(name: str, content: str) -> Make:
    return lambda desk: (desk / name).write_text(content)


def data(name: str, content: bytes) -> Make:
    return lambda desk: (desk / name).write_bytes(content)


def folder(name: str) -> Make:
    return lambda desk: (desk / name).mkdir()


def half_a_picture(name: str) -> Make:
    """The first half of a noisy picture's file."""

    def make(desk: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
        encoded = cv2.imencode(Path(name).suffix, noise)[1].tobytes()
        (desk / name).write_bytes(encoded[: len(encoded) // 2])

    return make


def huge_png(desk: Path) -> None:
    """A PNG of a few bytes that claims 40000x40000 pixels."""
    header = b"IHDR" + (40_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    (desk / "huge.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\x00" * 20)


def truth(name: str, change: Callable[[dict[str, Any]], Any]) -> Make:
    """The good annotation file with one thing changed."""

    def make(desk: Path) -> None:
        content = copy.deepcopy(good_truth())
        change(content)
        (desk / name).write_text(json.dumps(content))

    return make


def twice(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda content: content[key].append(copy.deepcopy(content[key][0]))


def model(name: str, **settings: Any) -> Make:
    return lambda desk: write_dot_model(desk / name, **settings)


def cut_model(desk: Path) -> None:
    (desk / "cut.onnx").write_bytes((desk / "dots.onnx").read_bytes()[:1500])


class Bomb:
    """Unpickled without care, it leaves a file behind."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("exploded").write_text, ("boom",))


def pickle_bomb(desk: Path) -> None:
    (desk / "bomb.pth").write_bytes(pickle.dumps({"state_dict": Bomb()}, protocol=2))


def torch_bomb(desk: Path) -> None:
    import torch

    torch.save({"state_dict": Bomb()}, desk / "zipbomb.pth")


def foreign_weights(desk: Path) -> None:
    import torch

    torch.save({"layer.weight": torch.zeros(3)}, desk / "foreign.pth")


def recipe(name: str, old: str, new: str, *, of: str = "litepose_xs_synthetic") -> Make:
    """A shipped recipe with one piece of text changed."""

    def make(desk: Path) -> None:
        content = (resources.files("litepose") / "recipes" / f"{of}.toml").read_text(encoding="utf-8")
        assert old in content
        (desk / name).write_text(content.replace(old, new))

    return make


def mpii(
    folder: str, mat: Callable[[Path], Any] | None, change: Callable[[list[dict[str, Any]]], Any] = lambda _: None
) -> Make:
    """An MPII list of one person with its picture, changed, and what `mat` writes beside it to the path it gets."""

    def make(desk: Path) -> None:
        records = [mpii_files.record("a.jpg")]
        change(records)
        path = mpii_files.write(desk / folder, records)
        if mat is not None:
            mat(path.with_name("gt_valid.mat"))

    return make


def two_without_joints(records: list[dict[str, Any]]) -> None:
    """The second of two people has no keypoints."""
    records.append({key: value for key, value in records[0].items() if key != "joints"})


def crop_checkpoint(desk: Path) -> None:
    """A Lite-HRNet with fresh weights."""
    from litepose import checkpoints

    spec = checkpoints.default_spec("litehrnet_naive_18", COCO17)
    checkpoints.save(desk / "crops.safetensors", checkpoints.build_network(spec).state_dict(), spec)


def nothing(desk: Path) -> None:
    pass
