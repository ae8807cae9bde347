"""Weights in and out: our own files, and those of other projects, whole or hostile."""

from __future__ import annotations

import argparse
import collections
import io
import json
import pickle
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from litepose import checkpoints, models
from litepose.codecs import AECodec
from litepose.errors import CheckpointError, InputSizeError, SettingError, SpecError
from litepose.importing import rename
from litepose.models.litepose import OFFICIAL_KEYS, LitePose, uniform_arch
from litepose.skeleton import COCO17, CROWDPOSE14, MPII16
from litepose.spec import SPEC_KEY, PoseSpec
from official_litepose import authors_name

TINY = uniform_arch(64, 8, (8, 8, 8, 8), (8, 8, 8))
FORMATS = {"zip": True, "legacy": False}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny() -> LitePose:
    torch.manual_seed(0)
    network = models.build("litepose_xs", num_keypoints=14, arch=TINY)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
            module.num_batches_tracked += 7
    return network.eval()


@pytest.fixture(scope="module")
def official(tiny) -> dict[str, Tensor]:
    """The tiny network's weights under the authors' names."""
    return {authors_name(name): tensor.clone() for name, tensor in tiny.state_dict().items()}


def import_tiny(path: Path, **settings: Any):
    return checkpoints.import_official(path, "litepose_xs", CROWDPOSE14, arch=TINY, **settings)


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor], *, exact: bool = True) -> None:
    assert list(found) == list(wanted)
    for name in wanted:
        if exact:
            assert torch.equal(found[name], wanted[name]), name
        else:
            torch.testing.assert_close(found[name], wanted[name], atol=1e-3, rtol=1e-3)  # float16: 11 bits


# --- our own files ---


def test_saved_weights_and_spec_come_back_as_they_were(tiny, tmp_path):
    spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14, arch=TINY).with_provenance(data="none", licence="MIT")
    path = tmp_path / "new" / "folder" / "tiny.safetensors"
    checkpoints.save(path, tiny.state_dict(), spec)
    state, found = checkpoints.load(path)
    assert found == spec
    assert_same(dict(sorted(state.items())), dict(sorted(tiny.state_dict().items())))
    network, _ = checkpoints.load_network(path)
    assert not network.training
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(network(images), tiny(images), strict=True):
            assert torch.equal(a, b)
    assert [p.name for p in path.parent.iterdir()] == ["tiny.safetensors"]


def test_views_and_other_memory_formats_are_saved_as_plain_tensors(tmp_path):
    base = torch.arange(24.0).reshape(1, 2, 3, 4)
    state = {"a": base.to(memory_format=torch.channels_last), "b": base[:, :1], "c": base}
    spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14)
    checkpoints.save(tmp_path / "x.safetensors", state, spec)
    found, _ = checkpoints.load(tmp_path / "x.safetensors")
    for name, tensor in state.items():
        assert torch.equal(found[name], tensor)


def test_a_failed_save_leaves_the_old_file_whole(tiny, tmp_path, monkeypatch):
    spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14, arch=TINY)
    path = checkpoints.save(tmp_path / "tiny.safetensors", tiny.state_dict(), spec)
    before = path.read_bytes()

    def full_disk(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(path, {"other": torch.zeros(3)}, spec)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.safetensors"]


def test_a_strict_load_says_what_differs(tiny, tmp_path):
    spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14, arch=TINY)
    state = dict(tiny.state_dict())
    del state["stem.0.conv.weight"]
    state["surplus"] = torch.zeros(1)
    state["heads.0.raw.pointwise.weight"] = torch.zeros(34, 8, 1, 1)
    path = checkpoints.save(tmp_path / "odd.safetensors", state, spec)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load_network(path)
    text = str(caught.value)
    assert str(path) in text
    assert "1 missing: stem.0.conv.weight" in text
    assert "1 unexpected: surplus" in text
    assert "heads.0.raw.pointwise.weight (34, 8, 1, 1) instead of (28, 8, 1, 1)" in text


def test_a_refused_state_changes_no_tensor(tiny):
    network = models.build("litepose_xs", num_keypoints=14, arch=TINY)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = dict(tiny.state_dict())
    del state["heads.1.refined.pointwise.weight"]
    with pytest.raises(CheckpointError, match="1 missing"):
        checkpoints.load_state(network, state)
    assert_same(network.state_dict(), before)


def test_files_that_are_no_checkpoint_are_refused(tiny, tmp_path):
    spec = checkpoints.default_spec("litepose_xs", CROWDPOSE14, arch=TINY)
    whole = checkpoints.save(tmp_path / "whole.safetensors", tiny.state_dict(), spec).read_bytes()
    bad = {
        "empty": (b"", CheckpointError, "cannot be read as safetensors"),
        "text": (b"not a model at all, just text", CheckpointError, "litepose convert"),
        "truncated": (whole[: len(whole) // 2], CheckpointError, "cannot be read as safetensors"),
        "specless": (safetensors.torch.save({"a": torch.zeros(2)}), SpecError, "no pose spec"),
        "newer": (with_spec(spec, version=99), SpecError, "version 99"),
        "broken": (safetensors.torch.save({}, metadata={SPEC_KEY: "{"}), SpecError, "cannot be read"),
        "maps": (with_spec(spec, network={"num_keypoints": 13, "arch": TINY}), SpecError, "do not belong together"),
        "settings": (with_spec(spec, network={"num_keypoints": 14, "num_keypoint": 1}), SpecError, "num_keypoints"),
        "nothing": (with_spec(spec, network={}), SpecError, "num_keypoints"),
        "network": (with_spec(spec, model="litepose_xxxs"), SpecError, "litepose_xs"),
        "exported": (with_spec(spec, model=""), SpecError, "exported file"),
    }
    for name, (content, error, words) in bad.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(error, match=words) as caught:
            checkpoints.load_network(path)
        assert f"{name}.safetensors" in str(caught.value)
    with pytest.raises(CheckpointError, match="No checkpoint"):
        checkpoints.load(tmp_path / "absent.safetensors")
    with pytest.raises(CheckpointError, match="No checkpoint"):
        checkpoints.load(tmp_path)


def with_spec(spec: PoseSpec, **changes: Any) -> bytes:
    data = {**json.loads(spec.to_json()), **changes}
    return safetensors.torch.save({"a": torch.zeros(2)}, metadata={SPEC_KEY: json.dumps(data)})


# --- the default spec ---


def test_default_spec_describes_the_outputs_of_the_network():
    spec = checkpoints.default_spec("litepose_s", COCO17)
    assert spec.input.size == (448, 448)
    assert (spec.input.resize, spec.input.colour, spec.input.stride) == ("short_side", "RGB", 16)
    assert [(o.stride, o.channels) for o in spec.outputs] == [(4, 34), (2, 17)]
    assert spec.codec == AECodec()
    assert spec.network == {"num_keypoints": 17}


def test_codec_and_network_share_their_settings_both_ways():
    one_tag = checkpoints.default_spec("litepose_xs", COCO17, tag_per_keypoint=False, center_keypoint=True)
    assert one_tag.codec == AECodec(tag_per_keypoint=False, center_keypoint=True)
    assert [o.channels for o in one_tag.outputs] == [19, 18]
    from_codec = checkpoints.default_spec(
        "litepose_xs", COCO17, codec=AECodec(tag_per_keypoint=False, center_keypoint=True)
    )
    assert from_codec == one_tag
    both = checkpoints.default_spec("litepose_xs", CROWDPOSE14, tag_outputs=(True, True))
    assert [o.channels for o in both.outputs] == [28, 28]
    only_fine = checkpoints.default_spec("litepose_xs", CROWDPOSE14, codec=AECodec(heatmap_outputs=(False, True)))
    assert [o.channels for o in only_fine.outputs] == [14, 14]
    for spec in (one_tag, both, only_fine):
        assert PoseSpec.from_json(spec.to_json()) == spec
        assert checkpoints.build_network(spec).output_channels == tuple(o.channels for o in spec.outputs)


def test_default_spec_takes_the_size_of_the_arch_unless_one_is_given():
    assert checkpoints.default_spec("litepose_xs", COCO17, arch=TINY).input.size == (64, 64)
    assert checkpoints.default_spec("litepose_xs", COCO17, arch=TINY, size=(128, 96)).input.size == (128, 96)
    with pytest.raises(InputSizeError, match="112x96"):
        checkpoints.default_spec("litepose_xs", COCO17, size=(100, 96))


def test_codec_and_network_that_contradict_each_other_are_refused():
    with pytest.raises(SpecError, match="channels"):
        checkpoints.default_spec("litepose_xs", COCO17, codec=AECodec(), tag_per_keypoint=False)
    with pytest.raises(SpecError, match="strides"):
        checkpoints.default_spec("litepose_xs", COCO17, codec=AECodec(output_strides=(8, 4)))


# --- other projects' files ---


def wrapped(kind: str, state: dict[str, Tensor]) -> Any:
    module = {f"module.{name}": tensor for name, tensor in state.items()}
    return {
        "plain": state,
        "ordered": collections.OrderedDict(state),
        "module": module,
        "fp16 wrapper": {f"1.{name}": tensor for name, tensor in state.items()},
        "both": {f"module.1.{name}": tensor for name, tensor in state.items()},
        "state_dict": {"state_dict": module, "epoch": 3},
        "training": {
            "epoch": 500, "model": "pose_mobilenet", "state_dict": module, "best_state_dict": state, "perf": 500,
            "optimizer": {"state": {0: {"step": 9, "exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 4e-3}]},
        },
        "best only": {"best_state_dict": state, "perf": 0.5},
        "model": {"model": state},
        "model_state_dict": {"model_state_dict": state},
        "other first": {"state_dict": {"classifier.weight": torch.zeros(5, 5)}, "ema": state},
        "parameters": {name: torch.nn.Parameter(t) if t.is_floating_point() else t for name, t in state.items()},
    }[kind]  # fmt: skip


KINDS = ("plain", "ordered", "module", "fp16 wrapper", "both", "state_dict", "training", "best only", "model",
         "model_state_dict", "other first", "parameters")  # fmt: skip


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_wrapping_of_an_official_checkpoint_is_read(kind, file_format, tiny, official, tmp_path):
    path = tmp_path / "model_best.pth.tar"
    torch.save(wrapped(kind, official), path, _use_new_zipfile_serialization=FORMATS[file_format])
    network, spec = import_tiny(path)
    assert_same(network.state_dict(), tiny.state_dict())
    assert spec.provenance["source"] == "official"
    assert spec.provenance["colour"] == spec.input.colour == "RGB"
    assert spec.provenance["imported_from"] == "model_best.pth.tar"
    assert len(spec.provenance["imported_sha256"]) == 64
    assert not network.training


@pytest.mark.parametrize("file_format", FORMATS)
def test_half_precision_is_widened(file_format, tiny, official, tmp_path):
    state = {f"1.{name}": t.half() if t.is_floating_point() else t for name, t in official.items()}
    torch.save(state, tmp_path / "half.pth", _use_new_zipfile_serialization=FORMATS[file_format])
    network, _ = import_tiny(tmp_path / "half.pth")
    assert {t.dtype for t in network.parameters()} == {torch.float32}
    assert_same(network.state_dict(), tiny.state_dict(), exact=False)


def test_batch_counters_may_be_absent(tiny, official, tmp_path):
    torch.save({n: t for n, t in official.items() if "num_batches" not in n}, tmp_path / "old.pth")
    network, _ = import_tiny(tmp_path / "old.pth")
    wanted = {n: torch.zeros_like(t) if "num_batches" in n else t for n, t in tiny.state_dict().items()}
    assert_same(network.state_dict(), wanted)


def test_mmpose_prefixes_are_cut_and_the_source_is_kept(tiny, official, tmp_path):
    state = {("keypoint_head." if n.startswith("final") else "backbone.") + n: t for n, t in official.items()}
    state["data_preprocessor.mean"] = torch.zeros(3, 1, 1)
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, tmp_path / "mm.pth")
    network, spec = import_tiny(tmp_path / "mm.pth", source="mmpose")
    assert_same(network.state_dict(), tiny.state_dict())
    assert (spec.provenance["source"], spec.input.colour) == ("mmpose", "RGB")
    with pytest.raises(CheckpointError, match=r"unexpected: backbone\.first"):
        import_tiny(tmp_path / "mm.pth")
    with pytest.raises(SettingError, match="official"):
        import_tiny(tmp_path / "mm.pth", source="mmlab")


def test_weights_of_another_skeleton_are_named_as_such(official, tmp_path):
    torch.save(official, tmp_path / "crowdpose.pth")
    with pytest.raises(CheckpointError) as caught:
        checkpoints.import_official(tmp_path / "crowdpose.pth", "litepose_xs", COCO17, arch=TINY)
    text = str(caught.value)
    assert "with 17 keypoints" in text
    assert "4 of another shape: heads.0.refined.pointwise.weight (28, 8, 1, 1) instead of (34, 8, 1, 1)" in text
    assert "another skeleton" in text


def test_missing_and_unexpected_tensors_are_counted_and_named(official, tmp_path):
    state = {n: t for n, t in official.items() if not n.startswith("stage.0.")}
    state["stage.0.0.Linear5x5.weight"] = torch.zeros(25, 25)
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"missing: stages\.0\.0\.expand.*, \.\.\..*unexpected: stage\.0\.0\.Lin"):
        import_tiny(tmp_path / "part.pth")


def test_a_supplied_custom_skeleton_decides_the_number_of_keypoints(tmp_path):
    network = models.build("litepose_xs", num_keypoints=16, arch=TINY)
    torch.save({authors_name(n): t for n, t in network.state_dict().items()}, tmp_path / "mpii.pth")
    _, spec = checkpoints.import_official(tmp_path / "mpii.pth", "litepose_xs", MPII16, arch=TINY)
    assert [o.channels for o in spec.outputs] == [32, 16]


def test_every_tensor_has_one_name_in_both_worlds(tiny, official):
    back = rename(official, OFFICIAL_KEYS, source="official")
    assert list(back) == list(tiny.state_dict())


# --- foreign classes among the metadata: ignored, not executed ---


@pytest.fixture
def foreign(monkeypatch):
    """Classes of packages that are absent when the file is read."""

    def install(module: str, **members: type) -> types.ModuleType:
        for depth in range(1, module.count(".") + 1):  # the packages above it
            package = ".".join(module.split(".")[:depth])
            if package not in sys.modules:
                monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
        made = types.ModuleType(module)
        for name, member in members.items():
            member.__module__, member.__qualname__ = module, name
            setattr(made, name, member)
        monkeypatch.setitem(sys.modules, module, made)
        return made

    return install


class CfgNode(dict):
    """As yacs: a dict with attributes of its own."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.__dict__["__immutable__"] = True


class HistoryBuffer:
    """As mmengine: arrays and a set of names."""

    def __init__(self) -> None:
        self._log_history = np.arange(3.0)
        self._statistics_methods = collections.OrderedDict(mean=1)


class LossScaler:
    """As apex-style half precision: a plain object."""

    def __init__(self) -> None:
        self.cur_scale = 2.0**16


class ListLike(list):
    """A list with a foreign name."""


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    "what", ["numpy score", "numpy array", "yacs", "history", "scaler", "list", "namespace", "defaultdict", "path"]
)
def test_foreign_metadata_is_dropped_and_the_weights_are_kept(
    what, file_format, foreign, tiny, official, tmp_path, monkeypatch
):
    foreign("yacs.config", CfgNode=CfgNode)
    foreign("mmengine.logging.history_buffer", HistoryBuffer=HistoryBuffer)
    foreign("fp16_utils.loss_scaler", LossScaler=LossScaler)
    foreign("addict.lists", ListLike=ListLike)
    metadata: Any = {
        "numpy score": lambda: np.float64(0.61),
        "numpy array": lambda: np.arange(4),
        "yacs": lambda: CfgNode({"MODEL": CfgNode({"NUM_JOINTS": 14})}),
        "history": lambda: {"loss": HistoryBuffer()},
        "scaler": lambda: LossScaler(),
        "list": lambda: ListLike([1, 2, 3]),
        "namespace": lambda: argparse.Namespace(cfg="x.yaml", gpus=[0, 1]),
        "defaultdict": lambda: collections.defaultdict(dict, {"a": {"b": 1}}),
        "path": lambda: Path("output/model"),
    }[what]()
    path = tmp_path / "checkpoint.pth.tar"
    content = {"perf": metadata, "state_dict": official, "after": metadata}
    torch.save(content, path, _use_new_zipfile_serialization=FORMATS[file_format])
    for module in ("yacs.config", "mmengine.logging.history_buffer", "fp16_utils.loss_scaler", "addict.lists"):
        monkeypatch.delitem(sys.modules, module)
    allowed = torch.serialization.get_safe_globals()
    network, _ = import_tiny(path)
    assert_same(network.state_dict(), tiny.state_dict())
    assert set(torch.serialization.get_safe_globals()) == set(allowed)


# --- bombs ---


class Bomb:
    """A pickle that calls something when it is opened."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


BOMBS: dict[str, tuple[Any, ...]] = {
    "os.system": (__import__("os").system, "touch {marker}"),
    "subprocess": (subprocess.call, ["touch", "{marker}"]),
    "eval": (eval, "open('{marker}', 'w')"),
    "exec": (exec, "open('{marker}', 'w')"),
    "getattr": (getattr, Path("{marker}"), "touch"),
    "import": (__import__, "antigravity"),
    "open": (io.open, "{marker}", "w"),
    "runpy": (__import__("runpy").run_path, "{marker}"),
    "rmtree": (__import__("shutil").rmtree, "{marker}"),
    "torch.load": (torch.nn.modules.module.Module,),
}


@pytest.mark.parametrize("file_format", [*FORMATS, "pickle"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_pickle_bombs_are_refused_and_never_run(bomb, file_format, official, tmp_path):
    marker = tmp_path / "marker"
    function, *arguments = (fill_marker(part, marker) for part in BOMBS[bomb])
    content = {"state_dict": official, "extra": Bomb(function, *arguments)}
    path = tmp_path / "bomb.pth"
    if file_format == "pickle":
        path.write_bytes(pickle.dumps(content["extra"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=FORMATS[file_format])
    with pytest.raises(CheckpointError) as caught:
        import_tiny(path)
    assert str(path) in str(caught.value)
    assert not marker.exists()
    assert "antigravity" not in sys.modules
    if file_format != "pickle" and bomb != "torch.load":
        assert "unsafe" in str(caught.value)


def fill_marker(part: Any, marker: Path) -> Any:
    if isinstance(part, str):
        return part.replace("{marker}", str(marker))
    return [fill_marker(p, marker) for p in part] if isinstance(part, list) else part


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_foreign_function_is_replaced_not_called(file_format, foreign, tiny, official, tmp_path, monkeypatch):
    called = []
    module = foreign("elsewhere.tools")

    def detonate(*arguments: Any) -> None:
        called.append(arguments)

    detonate.__module__, detonate.__qualname__ = "elsewhere.tools", "detonate"
    module.detonate = detonate  # type: ignore[attr-defined]
    content = {"state_dict": official, "extra": Bomb(detonate, 1)}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=FORMATS[file_format])
    network, _ = import_tiny(tmp_path / "x.pth")
    assert called == []
    assert_same(network.state_dict(), tiny.state_dict())


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_pickled_network_is_refused_with_advice(file_format, tiny, tmp_path):
    path = tmp_path / "whole.pth"
    torch.save(tiny, path, _use_new_zipfile_serialization=FORMATS[file_format])
    with pytest.raises(CheckpointError, match=r"state_dict\(\)"):
        import_tiny(path)


@pytest.mark.parametrize("file_format", FORMATS)
def test_broken_files_get_one_clear_error(file_format, official, tmp_path):
    path = tmp_path / "x.pth"
    torch.save(official, path, _use_new_zipfile_serialization=FORMATS[file_format])
    whole = path.read_bytes()
    bad = {
        "empty": b"", "text": b"hello", "noise": bytes(range(256)) * 40, "half": whole[: len(whole) // 2],
        "head": whole[:100], "zip": b"PK\x03\x04" + bytes(200), "html": b"<!DOCTYPE html><html>Sign in</html>",
    }  # fmt: skip
    for name, content in bad.items():
        path = tmp_path / f"{name}.pth"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{name}.pth"):
            import_tiny(path)
    with pytest.raises(CheckpointError, match="No checkpoint"):
        import_tiny(tmp_path / "absent.pth")


@pytest.mark.parametrize("content", [{}, [], 3, {"state_dict": {}}, {"epoch": 3}, [torch.zeros(2)], torch.zeros(3)])
def test_files_without_weights_say_what_they_hold(content, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="no mapping of names to tensors"):
        import_tiny(tmp_path / "x.pth")


def test_a_tensor_that_claims_to_be_huge_is_refused_by_its_shape(official, tmp_path):
    state = {**official, "first.0.0.weight": torch.zeros(1).expand(1 << 40)}
    torch.save(state, tmp_path / "huge.pth")
    with pytest.raises(CheckpointError, match="of another shape"):
        import_tiny(tmp_path / "huge.pth")
