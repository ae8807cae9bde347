"""A wider LitePose started from a narrower one answers as that one did, and learns in all its parts."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints  # noqa: E402
from litepose.errors import CheckpointError  # noqa: E402
from litepose.skeleton import COCO17, CROWDPOSE14  # noqa: E402
from litepose.training.growing import grow  # noqa: E402
from litepose.training.start import take_over  # noqa: E402
from tiny_model import ARCH  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def wider_arch(**changes) -> dict:
    arch = copy.deepcopy(ARCH)
    arch["deconv_setting"] = [width + 8 for width in arch["deconv_setting"]]
    for stage in arch["backbone_setting"][1:]:
        stage["channel"] += 8
    return arch | changes


def made(arch: dict, seed: int, skeleton=COCO17):
    """Return (network in eval mode, spec) with random weights and BN statistics."""
    torch.manual_seed(seed)
    spec = checkpoints.default_spec("litepose_xs", skeleton, arch=arch)
    network = checkpoints.build_network(spec).eval()
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1 or name.endswith("running_mean"):
            torch.nn.init.normal_(tensor, std=0.05)
    return network, spec


def test_a_wider_network_answers_as_the_narrow_one_that_it_starts_from(tmp_path):
    (narrow, old), (wide, new) = made(ARCH, 1), made(wider_arch(), 2)
    checkpoints.save(tmp_path / "narrow.safetensors", narrow.state_dict(), old)
    images = torch.randn(2, 3, 64, 64)
    assert not torch.allclose(wide(images)[0], narrow(images)[0], atol=1e-3)
    notes = take_over(wide, tmp_path / "narrow.safetensors", spec=new)
    total = len(wide.state_dict())
    assert notes[0].startswith(f"{total} of {total} tensors taken over")
    assert "are wider here" in notes[1] and len(notes) == 2
    for before, now in zip(narrow(images), wide(images), strict=True):
        torch.testing.assert_close(now, before, rtol=1e-5, atol=1e-6)


def test_every_new_weight_learns_within_two_steps(tmp_path):
    (narrow, _), (wide, _) = made(ARCH, 1), made(wider_arch(), 2)
    wide.load_state_dict(grow(narrow.state_dict(), wide))
    start = {name: tensor.clone() for name, tensor in wide.named_parameters()}
    optimizer = torch.optim.Adam(wide.train().parameters(), lr=0.01)
    images = torch.randn(2, 3, 64, 64)
    for _ in range(2):
        optimizer.zero_grad()
        sum(output.square().mean() for output in wide(images)).backward()
        optimizer.step()
    for name, tensor in wide.named_parameters():
        new = torch.ones_like(tensor, dtype=torch.bool)
        new[tuple(slice(size) for size in narrow.state_dict()[name].shape)] = False
        if new.any():
            assert (tensor != start[name])[new].float().mean() > 0.5, name


def test_new_weights_are_those_of_a_fresh_network_but_for_those_that_lead_to_old_channels():
    (narrow, _), (wide, _) = made(ARCH, 1), made(wider_arch(), 2)
    fresh = {name: tensor.clone() for name, tensor in wide.state_dict().items()}
    grown = grow(narrow.state_dict(), wide)
    name = "stages.1.0.project.conv.weight"
    old = narrow.state_dict()[name]
    outputs, inputs = old.shape[:2]
    assert grown[name].shape[0] > outputs
    assert torch.equal(grown[name][:outputs, :inputs], old)
    assert (grown[name][:outputs, inputs:] == 0).all()
    assert torch.equal(grown[name][outputs:], fresh[name][outputs:])
    deconv = "deconvs.0.refined.weight"  # (in, out, h, w)
    inputs, outputs = narrow.state_dict()[deconv].shape[:2]
    assert (grown[deconv][inputs:, :outputs] == 0).all()
    assert torch.equal(grown[deconv][:, outputs:], fresh[deconv][:, outputs:])


@pytest.mark.parametrize("change", ["narrower", "equal", "deeper", "other kernels"])
def test_what_is_not_a_wider_network_does_not_grow(change):
    (narrow, _), (wide, _) = made(ARCH, 1), made(wider_arch(), 2)
    if change == "narrower":
        assert grow(wide.state_dict(), narrow) is None
    elif change == "equal":
        assert grow(narrow.state_dict(), narrow) is None
    else:
        arch = wider_arch()
        stage = arch["backbone_setting"][1]
        if change == "deeper":
            stage["num_blocks"] += 1
            stage["block_setting"] = [*stage["block_setting"], stage["block_setting"][-1]]
        else:
            stage["block_setting"] = [[2, 5]] * stage["num_blocks"]
        other, _ = made(arch, 2)
        assert grow(narrow.state_dict(), other) is None


def test_with_other_keypoints_the_backbone_grows_no_head_is_mistaken(tmp_path):
    (narrow, old), (wide, new) = made(ARCH, 1), made(wider_arch(), 2, CROWDPOSE14)
    checkpoints.save(tmp_path / "narrow.safetensors", narrow.state_dict(), old)
    fresh = wide.heads[0].refined.pointwise.weight.clone()
    try:
        take_over(wide, tmp_path / "narrow.safetensors", spec=new)
    except CheckpointError:
        pytest.fail("nothing was taken over")
    assert torch.equal(wide.heads[0].refined.pointwise.weight, fresh)


def test_a_note_names_a_dozen_fresh_tensors_and_counts_the_others(tmp_path):
    (narrow, old), arch = made(ARCH, 1), copy.deepcopy(ARCH)
    stage = arch["backbone_setting"][1]
    stage["num_blocks"], stage["block_setting"] = 2, [*stage["block_setting"], [2, 3]]
    checkpoints.save(tmp_path / "narrow.safetensors", narrow.state_dict(), old)
    deeper, new = made(arch, 2)
    note = take_over(deeper, tmp_path / "narrow.safetensors", spec=new)[1]
    assert note.count("stages.1.1.") == 12
    assert note.endswith(f" and {len(deeper.stages[1][1].state_dict()) - 12} more.")
