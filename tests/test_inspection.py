"""`litepose convert --inspect`: what a file is, without opening it up."""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from dot_model import write_dot_model  # noqa: E402
from litepose import checkpoints, importing, models  # noqa: E402
from litepose.cli import main  # noqa: E402
from litepose.errors import CheckpointError, SpecError  # noqa: E402
from litepose.importing import State  # noqa: E402
from litepose.inspection import inspect  # noqa: E402
from litepose.models.litepose import uniform_arch  # noqa: E402
from litepose.recognition import find_matches  # noqa: E402
from litepose.skeleton import COCO17, MPII16  # noqa: E402
from litepose.spec import SPEC_KEY  # noqa: E402
from official_litepose import authors_name  # noqa: E402
from parity.fixtures import cases, load_case  # noqa: E402
from pickle_writing import reduce, text, zipped  # noqa: E402

FIXTURES = {
    "litepose": {"crowdpose-xs": "litepose_xs", "coco-xs": "litepose_xs", "crowdpose-s": "litepose_s",
                 "crowdpose-m": "litepose_m", "coco-m": "litepose_m", "coco-l": "litepose_l",
                 "crowdpose-prune-s": "litepose_prune_s", "crowdpose-prune-l": "litepose_prune_l"},
    "hrnet": {"w32": "hrnet_w32", "w32-mpii": "hrnet_w32"},
    "small_hrnet": {"hrnet_w16_small_coco": "hrnet_w16_small"},
    "litehrnet": {"litehrnet_18_coco": "litehrnet_18", "litehrnet_18_mpii": "litehrnet_18",
                  "litehrnet_30_coco": "litehrnet_30", "naive_18_coco": "litehrnet_naive_18",
                  "wider_naive_18_coco": "litehrnet_wider_naive_18"},
    "lpn": {"lpn_50-coco": "lpn_50", "lpn_50-mpii": "lpn_50", "lpn_152-coco": "lpn_152"},
    "simplebaseline": {"resnet50": "simplebaseline_50", "resnet50-mpii": "simplebaseline_50",
                       "resnet152": "simplebaseline_152"},
    "mobilenetv2_simple": {"mobilenetv2_1x_coco": "simplebaseline_mobilenetv2"},
    "shufflenetv2_simple": {"shufflenetv2_1x_coco": "simplebaseline_shufflenetv2"},
}  # fmt: skip


def litepose(*arguments: Any) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def shapes_of(shapes: dict[str, tuple[int, ...]]) -> list[State]:
    tensors = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    return [State("state_dict", "", tensors, dict)]


@pytest.fixture
def official(tmp_path) -> Path:
    """LitePose XS for CrowdPose as its authors' training leaves it."""
    state = models.build("litepose_xs", num_keypoints=14).state_dict()
    named = {f"module.{authors_name(name)}": tensor for name, tensor in state.items()}
    path = tmp_path / "model best.pth.tar"
    torch.save({"epoch": 500, "state_dict": named, "args": argparse.Namespace(a=1)}, path)
    return path


@pytest.mark.parametrize("family", FIXTURES)
def test_authors_layouts_are_recognised_with_their_keypoints(family):
    at_hand = [case for case in cases(f"models/{family}") if case in FIXTURES[family]]
    if not at_hand:
        load_case(f"models/{family}", next(iter(FIXTURES[family])))  # skips and says so
    for case in at_hand:
        layout = load_case(f"models/{family}", case)[0]["layout"]
        match = find_matches(shapes_of({name: tuple(shape) for name, shape, _ in layout}))[0]
        keypoints = {"crowdpose": 14, "mpii": 16}.get(case.replace("_", "-").strip("-").split("-")[-1], 17)
        keypoints = 14 if "crowdpose" in case else keypoints
        assert (match.model, match.score, match.keypoints) == (FIXTURES[family][case], 1.0, keypoints)
        assert not match.missing and not match.unexpected and not match.misshapen


@pytest.mark.parametrize("family", models.families())
def test_every_variant_of_every_family_is_recognised_by_its_own_shapes(family):
    modules = {module.__name__.rpartition(".")[2]: module for module in models.modules()}
    for model in modules[family].VARIANTS:
        shell = models.build_shell(model, num_keypoints=11).state_dict()
        match, *others = find_matches(shapes_of({name: tuple(tensor.shape) for name, tensor in shell.items()}))
        same = {match.model, *(other.model for other in others if other.score == 1)}
        assert match.score == 1 and model in same
        assert match.keypoints == 11


def test_the_printed_command_converts_the_file(official, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert litepose("convert", "--inspect", official, "--json", "found.json") == 0
    said = capsys.readouterr().out
    assert "prefix 'module.' cut off: 567 float32, 112 int64; 1,675,552 parameters" in said
    assert "litepose_xs, names of source official: 100.0%" in said
    assert "14: crowdpose14" in said and "argparse.Namespace: read past" in said
    found = json.loads(Path("found.json").read_text())
    assert found["match"]["model"] == "litepose_xs" and found["skeletons"] == ["crowdpose14"]
    assert (found["layout"], found["keys"]) == ("zip", ["epoch", "state_dict", "args"])
    assert (found["colour"], found["foreign"]) == ("RGB", ["argparse.Namespace"])
    command = shlex.split(found["command"])
    assert litepose(*command[1:]) == 0
    spec = checkpoints.load(command[-1])[1]
    assert (spec.model, spec.skeleton.name) == ("litepose_xs", "crowdpose14")


def test_mmposes_names_and_wrappers_stand_in_the_command(tmp_path):
    state = models.build("simplebaseline_18", num_keypoints=16).state_dict()
    authors = {name: _resnet_name(name) for name in state}
    named = {("head." if "layers" in a or "final" in a else "backbone.") + a: state[n] for n, a in authors.items()}
    torch.save({"ema_state_dict": named}, tmp_path / "x.pth")
    found = inspect(tmp_path / "x.pth")
    assert found.match is not None and (found.match.source, found.match.keypoints) == ("mmpose", 16)
    assert "--source mmpose --wrapper ema_state_dict" in (found.command or "")
    checkpoints.import_official(tmp_path / "x.pth", "simplebaseline_18", MPII16, source="mmpose")


def _resnet_name(ours: str) -> str:
    """Return what torchvision and SimpleBaseline's authors call one of our tensors."""
    parts = ours.split(".")
    leaf = parts[-1]
    if parts[0] == "head":
        return f"final_layer.{leaf}"
    if parts[0] == "deconvs":
        return f"deconv_layers.{3 * int(parts[1]) + (parts[2] == 'norm')}.{leaf}"
    if parts[1] == "stem":
        return f"{'conv1' if parts[2] == 'conv' else 'bn1'}.{leaf}"
    place = f"layer{int(parts[2]) + 1}.{parts[3]}"
    if parts[4] == "shortcut":
        return f"{place}.downsample.{int(parts[5] == 'norm')}.{leaf}"
    return f"{place}.{'conv' if parts[6] == 'conv' else 'bn'}{int(parts[5]) + 1}.{leaf}"


def test_a_network_of_an_own_architecture_is_asked_for_its_file(tmp_path):
    arch = uniform_arch(64, 8, (8, 8, 8, 8), (8, 8, 8))
    state = models.build("litepose_xs", num_keypoints=14, arch=arch).state_dict()
    torch.save({authors_name(name): tensor for name, tensor in state.items()}, tmp_path / "own.pth")
    found = inspect(tmp_path / "own.pth")
    assert found.match is not None and found.match.model.startswith("litepose_")
    assert (found.match.named, found.match.keypoints, found.command) == (1, 14, None)
    assert found.match.score < 0.1 and "--arch" in found.advice and "another architecture" in found.kind


def test_a_trunk_is_said_to_be_one_and_what_is_missing(tmp_path):
    shell = models.build_shell("litepose_xs", num_keypoints=17).state_dict()
    trunk = {authors_name(n): torch.zeros(t.shape) for n, t in shell.items() if n.startswith(("stem", "stages"))}
    torch.save({**trunk, "classifier.weight": torch.zeros(10, 10)}, tmp_path / "trunk.pth")
    found = inspect(tmp_path / "trunk.pth")
    assert found.match is not None and found.match.unexpected == ("classifier.weight",)
    assert any(name.startswith("heads.") for name in found.match.missing)
    assert "--from" in found.advice and found.command is None


def test_an_unknown_network_is_shown_by_its_first_names(tmp_path, capsys):
    torch.save({"features.0.weight": torch.zeros(8, 3, 3, 3), "features.0.bias": torch.zeros(8)}, tmp_path / "vgg.pth")
    assert litepose("convert", "--inspect", tmp_path / "vgg.pth") == 0
    said = capsys.readouterr().out
    assert "unknown network" in said and "features.0.weight (8, 3, 3, 3)" in said


def test_our_own_files_are_known(tmp_path):
    spec = checkpoints.default_spec("litepose_xs", COCO17)
    ours = checkpoints.save(tmp_path / "x.safetensors", checkpoints.build_network(spec).state_dict(), spec)
    found = inspect(ours)
    assert (found.kind, found.layout) == ("litepose checkpoint", "safetensors")
    assert found.spec is not None and (found.spec["model"], found.spec["keypoints"]) == ("litepose_xs", 17)
    keys = dict.fromkeys(importing.TRAINING_KEYS, 1)
    torch.save(
        {**keys, "network": {"w": torch.zeros(1)}, "recipe": '[model]\nname = "litepose_s"\n'}, tmp_path / "c.pt"
    )
    assert inspect(tmp_path / "c.pt").kind == "litepose training checkpoint of litepose_s"
    write_dot_model(tmp_path / "dots.onnx")
    assert inspect(tmp_path / "dots.onnx").kind == "litepose model (ONNX)"


def test_files_without_a_spec_are_named_as_such(tmp_path):
    import onnx

    write_dot_model(tmp_path / "dots.onnx")
    graph = onnx.load(str(tmp_path / "dots.onnx"))
    del graph.metadata_props[:]
    onnx.save(graph, str(tmp_path / "bare.onnx"))
    found = inspect(tmp_path / "bare.onnx")
    assert found.kind == "ONNX model of another project" and found.weights[0].tensors == len(graph.graph.initializer)
    safetensors.torch.save_file({"w": torch.zeros(3)}, tmp_path / "w.safetensors")
    assert "safetensors file without a pose spec" in inspect(tmp_path / "w.safetensors").kind
    safetensors.torch.save_file({"w": torch.zeros(3)}, tmp_path / "w.safetensors", metadata={SPEC_KEY: "{"})
    with pytest.raises(SpecError, match=r"w\.safetensors"):
        inspect(tmp_path / "w.safetensors")


def test_hostile_and_absent_files_end_in_one_message(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(zipped(reduce("os", "system", text("touch canary"))))
    assert litepose("convert", "--inspect", tmp_path / "evil.pth") == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(CheckpointError, match=r"unsafe: opening it would call 'os\.system'"):
        inspect(tmp_path / "evil.pth")
    for name in ("absent.pth", "absent.onnx"):
        with pytest.raises(CheckpointError, match=name):
            inspect(tmp_path / name)
