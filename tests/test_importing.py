"""Every file layout that official checkpoints have, for every family that there is; new families join by themselves."""

from __future__ import annotations

import argparse
import collections
import datetime
import decimal
import pathlib
import pickle
import struct
import warnings
import zipfile
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import safetensors.torch  # noqa: E402

from litepose import checkpoints, importing, models  # noqa: E402
from litepose.cli import main  # noqa: E402
from litepose.errors import CheckpointError, SettingError  # noqa: E402
from litepose.skeleton import COCO17, CROWDPOSE14  # noqa: E402
from pickle_writing import legacy, number, storage, text, tuple_of, zipped  # noqa: E402
from pickle_writing import state as pickled_state  # noqa: E402
from pickle_writing import tensor as pickled_tensor  # noqa: E402


def smallest(family: str) -> str:
    """The variant with the fewest tensors, as a stand-in for its family."""
    counts = {
        name: len(models.build_shell(name, num_keypoints=14).state_dict())
        for module in models.modules()
        if module.__name__.endswith(f".{family}")
        for name in module.VARIANTS
    }
    return min(counts, key=lambda name: counts[name])


def small_state(model: str) -> dict[str, torch.Tensor]:
    """A state of the right names and shapes that a few bytes hold: every number of a tensor is the same one."""
    shell = models.build_shell(model, num_keypoints=14).state_dict()
    filled = {}
    for index, (name, shape) in enumerate(shell.items()):
        one = torch.tensor(index % 250 + 1).to(shape.dtype)
        filled[name] = one.expand(shape.shape) if shape.dim() else one
    return filled


LAYOUTS = {
    "plain": lambda state: state,
    "ordered": lambda state: collections.OrderedDict(state),
    "module.": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "1.": lambda state: {f"1.{name}": t.half() if t.is_floating_point() else t for name, t in state.items()},
    "checkpoint.pth.tar": lambda state: {
        "epoch": 9, "model": "pose", "perf": np.float64(0.5), "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}},
        "state_dict": {f"module.1.{name}": tensor for name, tensor in state.items()}, "best_state_dict": state,
    },
    "mmcv": lambda state: {
        "meta": {"config": "x = 1", "hook_msgs": {"best_score": np.float64(0.7)}}, "state_dict": state
    },
    "mmengine": lambda state: {
        "meta": {"dataset_meta": {"sigmas": np.arange(17.0)}, "time": datetime.datetime(2023, 1, 1)},
        "state_dict": state, "message_hub": {"loss": collections.deque([1.0])},
        "ema_state_dict": {"steps": torch.tensor(4), **{f"module.{name}": tensor for name, tensor in state.items()}},
    },
    "iter": lambda state: {
        "state_dict": {f"module.{name}": tensor for name, tensor in state.items()},
        "optimizer": {"param_groups": [{"lr": 4e-5}]}, "scheduler": {"milestones": collections.Counter({100: 1})},
        "iter": 420000, "current_epoch": 280,
    },
    "options": lambda state: {
        "model_state_dict": state,
        "args": argparse.Namespace(out=pathlib.PurePosixPath("out"), rate=decimal.Decimal("1")),
    },
    "nested": lambda state: {"ema": {"module": state}, "step": 3},
    "compiled": lambda state: {"model": {f"_orig_mod.{name}": tensor for name, tensor in state.items()}},
    "averaged": lambda state: {"n_averaged": torch.tensor(7), **{f"module.{name}": t for name, t in state.items()}},
    "old": lambda state: {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")},
    "parameters": lambda state: {
        name: torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor for name, tensor in state.items()
    },
}  # fmt: skip


@pytest.mark.parametrize("family", models.families())
def test_every_layout_brings_every_familys_weights(family, tmp_path):
    model = smallest(family)
    state = small_state(model)
    keys = models.family_of(model).OFFICIAL_KEYS
    for index, (layout, wrap) in enumerate(LAYOUTS.items()):
        path = tmp_path / f"{index}.pth.tar"
        torch.save(wrap(state), path, _use_new_zipfile_serialization=bool(index % 2))
        found = importing.rename(importing.read_states(path)[-1], keys, source="official")
        wanted = LAYOUTS["old"](state) if layout == "old" else state
        assert list(found) == list(wanted), layout
        for name, tensor in wanted.items():
            assert found[name].shape == tensor.shape and (found[name] == tensor).all(), (layout, name)


@pytest.mark.parametrize("zip_format", [True, False])
def test_our_reader_finds_what_torchs_restricted_unpickler_finds(zip_format, tmp_path):
    base = torch.arange(24.0).reshape(2, 3, 4)
    kinds = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8]
    saved = {
        "base": base, "view": base[:, 1:, ::2], "turned": base.permute(2, 0, 1), "part": base[1],
        "scalar": torch.tensor(3.5), "empty": torch.zeros(0, 3), "expanded": torch.ones(1).expand(5),
        "parameter": torch.nn.Parameter(base * 2), "bool": torch.tensor([True, False]),
        "byte": torch.tensor([255], dtype=torch.uint8),
        "complex": torch.tensor([1 + 2j]), "channels": torch.rand(1, 3, 2, 2).to(memory_format=torch.channels_last),
        **{str(kind): base.to(kind) for kind in kinds},
        **({"uint16": torch.tensor([65535], dtype=torch.uint16)} if zip_format else {}),
    }  # fmt: skip
    torch.save(saved, tmp_path / "x.pt", _use_new_zipfile_serialization=zip_format)
    wanted = torch.load(tmp_path / "x.pt", weights_only=True)
    (found,) = importing.read_states(tmp_path / "x.pt")
    assert list(found) == list(wanted)
    for name, tensor in wanted.items():
        assert (found[name].dtype, found[name].shape, found[name].stride()) == (
            tensor.dtype,
            tensor.shape,
            tensor.stride(),
        )
        assert torch.equal(found[name], tensor), name


def test_only_the_chosen_weights_are_read_from_a_file_of_many(tmp_path, monkeypatch):
    state = small_state("litepose_xs")
    torch.save({"state_dict": state, "optimizer": {"state": {0: torch.zeros(1000)}}, "ema": state}, tmp_path / "x.pth")
    opened = importing.open_checkpoint(tmp_path / "x.pth")
    assert [one.wrapper for one in opened.states] == ["state_dict", "ema"]
    assert opened.keys == ("state_dict", "optimizer", "ema")
    read = []
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda self, name: read.append(name) or bytes(1 << 16))
    opened.states[1].load()
    assert len(set(read)) == len({tensor.data_ptr() for tensor in state.values()})


def test_python_2_and_torch_0_4_wrote_pairs_parts_and_byte_texts(tmp_path):
    part = tuple_of(text("storage"), b"ctorch\nFloatStorage\n", text("0"), text("cpu"), number(4),
                    tuple_of(text("v"), number(1), number(2))) + b"Q"  # fmt: skip
    pair = b"](U\x01w" + pickled_tensor(tuple_of(number(2)), tuple_of(number(1)), row=part, leaf="") + b"e"
    content = b"ccollections\nOrderedDict\n" + tuple_of(b"](" + pair + b"e") + b"R"
    numbers = struct.pack("<q4f", 4, 1, 2, 3, 4)
    (tmp_path / "old.pth").write_bytes(legacy(content, tail=numbers))
    (found,) = importing.read_states(tmp_path / "old.pth")
    assert found["w"].tolist() == [2, 3]


def test_weights_under_the_wanted_key_are_taken_and_noted(tmp_path):
    state = small_state("litepose_xs")
    averaged = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({"state_dict": state, "ema": {"module": averaged}}, tmp_path / "x.pth")

    def first(**settings: Any) -> tuple[float, str]:
        network, spec = checkpoints.import_official(tmp_path / "x.pth", "litepose_xs", CROWDPOSE14, **settings)
        return next(network.parameters()).flatten()[0].item(), spec.provenance["imported_wrapper"]

    assert first() == (1, "state_dict")
    assert first(wrapper="ema.module") == (2, "ema.module")
    with pytest.raises(SettingError, match=r"Possible: 'state_dict', 'ema.module'"):
        first(wrapper="best")


def test_safetensors_of_other_projects_come_in_and_our_own_do_not_again(tmp_path):
    state = {f"module.{name}": tensor.contiguous() for name, tensor in small_state("litepose_xs").items()}
    safetensors.torch.save_file(state, tmp_path / "x.safetensors")
    network, spec = checkpoints.import_official(tmp_path / "x.safetensors", "litepose_xs", CROWDPOSE14)
    assert next(network.parameters()).flatten()[0] == 1
    ours = checkpoints.save(tmp_path / "ours.safetensors", network.state_dict(), spec)
    with pytest.raises(CheckpointError, match="litepose checkpoint already"):
        checkpoints.import_official(ours, "litepose_xs", CROWDPOSE14)


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.complex64, torch.int8])
def test_weights_that_are_no_real_numbers_are_refused_by_name(kind, tmp_path):
    state = small_state("litepose_xs")
    name = next(iter(state))
    torch.save({**state, name: state[name].to(kind)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"1 tensors hold other numbers.*{name} {kind}"):
        checkpoints.import_official(tmp_path / "x.pth", "litepose_xs", CROWDPOSE14)


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_other_precision_become_float32(kind, tmp_path):
    state = {n: t.to(kind) if t.is_floating_point() else t for n, t in small_state("litepose_xs").items()}
    torch.save(state, tmp_path / "x.pth")
    network, _ = checkpoints.import_official(tmp_path / "x.pth", "litepose_xs", CROWDPOSE14)
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


def test_a_name_is_told_and_never_imported(tmp_path):
    class Config(dict):
        """As yacs has them."""

    Config.__module__, Config.__qualname__ = "absent_package.config", "Config"
    body = zipped(
        pickled_state(
            (text("cfg"), b"cabsent_package.config\nConfig\n)\x81" + pickled_state((text("a"), b"N"))[1:]),
            (text("w"), pickled_tensor(tuple_of(number(4)), tuple_of(number(1)))),
        )
    )
    (tmp_path / "x.pth").write_bytes(body)
    opened = importing.open_checkpoint(tmp_path / "x.pth")
    assert opened.foreign == ("absent_package.config.Config",)
    assert opened.content["cfg"].entries == {"a": None}


def test_old_kinds_of_files_are_told_apart_in_the_message(tmp_path):
    tar = bytearray(600)
    tar[257:262] = b"ustar"
    whole = {"tar.pth": (bytes(tar), "0.1.10"), "raw.pkl": (pickle.dumps({"w": [1.0]}), "none that torch.save wrote")}
    for name, (content, words) in whole.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=words):
            importing.read_states(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    with pytest.raises(CheckpointError, match="TorchScript"):
        importing.read_states(tmp_path / "script.pt")


def test_a_training_of_ours_is_told_where_its_weights_lie(tmp_path, capsys):
    keys = dict.fromkeys(importing.TRAINING_KEYS, 1)
    torch.save({**keys, "network": small_state("litepose_xs")}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match=r"last\.safetensors"):
        checkpoints.import_official(tmp_path / "checkpoint.pt", "litepose_xs", COCO17)
    with pytest.raises(SystemExit) as left:
        main(["convert", str(tmp_path / "checkpoint.pt")])
    assert left.value.code == 2
    assert "--inspect" in capsys.readouterr().err


def test_a_storage_that_its_tensors_never_use_is_no_reason_to_fail(tmp_path):
    (tmp_path / "x.pth").write_bytes(
        zipped(pickled_state((text("s"), storage()), (text("w"), pickled_tensor(tuple_of(), tuple_of()))))
    )
    assert importing.read_states(tmp_path / "x.pth")[0]["w"].item() == 0


def test_what_a_shorter_variant_leaves_out_of_a_longer_ones_file_is_left_out(tmp_path, monkeypatch):
    state = small_state("litepose_xs")
    torch.save({**state, "further.0.weight": torch.zeros(3)}, tmp_path / "long.pth")
    with pytest.raises(CheckpointError, match=r"1 unexpected: further\.0\.weight"):
        checkpoints.import_official(tmp_path / "long.pth", "litepose_xs", CROWDPOSE14)
    monkeypatch.setattr(models.family_of("litepose_xs"), "LEFT_OUT", r"further\..*", raising=False)
    network, _ = checkpoints.import_official(tmp_path / "long.pth", "litepose_xs", CROWDPOSE14)
    assert next(network.parameters()).flatten()[0] == 1
