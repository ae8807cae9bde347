"""Heads for other keypoints: what the old network knows of a keypoint, the new one knows under the same name."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from litepose import checkpoints  # noqa: E402
from litepose.codecs import AECodec, HeatmapCodec  # noqa: E402
from litepose.skeleton import COCO17, OPENPOSE18, Skeleton  # noqa: E402
from litepose.spec import PoseSpec  # noqa: E402
from litepose.training.heads import ChannelAxis, carry_over, channel_axes  # noqa: E402
from litepose.training.start import take_over  # noqa: E402
from tiny_model import ARCH, tiny_network  # noqa: E402

NAMES = ("head_top", "left_wrist", "nose", "right_wrist", "left_hand", "tail")
OTHER = Skeleton("other", NAMES, (("nose", "left_wrist"),), (0.05,) * len(NAMES), (("left_wrist", "right_wrist"),))
SHARED = ("left_wrist", "nose", "right_wrist")
SHUFFLED = Skeleton("shuffled", COCO17.keypoints[::-1], (), (0.05,) * 17, COCO17.mirror)
KINDS = {
    "litepose_xs": {"arch": ARCH},
    "litepose_xs with a centre": {"arch": ARCH, "codec": AECodec(center_keypoint=True, tag_per_keypoint=False)},
    "lpn_50": {},
    "litehrnet_18": {},
    "simplebaseline_shufflenetv2": {"codec": HeatmapCodec(encoding="udp_combined", refinement="udp_combined")},
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def made(kind: str, skeleton: Skeleton, seed: int):
    """Return (network in eval mode, spec) with random weights."""
    torch.manual_seed(seed)
    spec = checkpoints.default_spec(kind.split()[0], skeleton, **KINDS[kind])
    network = checkpoints.build_network(spec).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:  # heads that start near 0 would hide differences
            torch.nn.init.normal_(parameter, std=0.05)
    return network, spec


def by_name(outputs, spec: PoseSpec) -> dict[tuple[int, str], torch.Tensor]:
    """Return the maps by (output, name of the channel)."""
    names = spec.codec.channel_names(spec.skeleton)
    return {(i, name): maps[0, k] for i, maps in enumerate(outputs) for k, name in enumerate(names[i])}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("skeleton", [OTHER, SHUFFLED], ids=lambda one: one.name)
def test_maps_of_keypoints_with_the_same_name_stay_what_they_were(kind, skeleton):
    (before, old), (after, new) = made(kind, COCO17, 1), made(kind, skeleton, 2)
    state = carry_over(before.state_dict(), after.state_dict(), old=old, new=new)
    after.load_state_dict(state)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        was, now = by_name(before(images), old), by_name(after(images), new)
    shared = was.keys() & now.keys()
    kept = {name.split(" of ")[-1] for _, name in shared if " of " in name}
    assert kept == set(SHARED if skeleton is OTHER else COCO17.keypoints)
    for key in shared:
        assert was[key].abs().max() > 0
        torch.testing.assert_close(now[key], was[key], rtol=1e-5, atol=1e-6 * float(was[key].abs().max() + 1))


def test_channels_without_a_namesake_start_as_the_new_network_starts():
    (before, old), (after, new) = made("lpn_50", COCO17, 1), made("lpn_50", OTHER, 2)
    state = carry_over(before.state_dict(), after.state_dict(), old=old, new=new)
    for k, name in enumerate(NAMES):
        source = before.head.weight[COCO17.index(name)] if name in SHARED else after.head.weight[k]
        assert torch.equal(state["head.weight"][k], source)
    assert all(torch.equal(state[name], tensor) for name, tensor in before.state_dict().items() if "head" not in name)


def test_a_layer_that_reads_channels_beside_features_keeps_both():
    old = checkpoints.default_spec("higherhrnet_w16", COCO17)
    place = channel_axes(old)["head.refine.0.deconv.weight"]
    width = channel_axes(old) and checkpoints.models.build_shell(old.model, **old.network).head.coarse.in_channels
    assert place == ChannelAxis(axis=0, output=0, first=width)
    new = checkpoints.default_spec("higherhrnet_w16", OTHER)
    states = [checkpoints.build_network(spec).state_dict() for spec in (old, new)]
    carried = carry_over(states[0], states[1], old=old, new=new)["head.refine.0.deconv.weight"]
    before, fresh = (state["head.refine.0.deconv.weight"] for state in states)
    assert torch.equal(carried[:width], before[:width])
    assert torch.equal(carried[width + NAMES.index("nose")], before[width])
    assert torch.equal(carried[width + NAMES.index("tail")], fresh[width + NAMES.index("tail")])
    tag = width + len(NAMES) + NAMES.index("nose")
    assert torch.equal(carried[tag], before[width + 17])


def test_fields_keep_their_limbs_and_what_mixes_outputs_is_left_out():
    old = checkpoints.default_spec("openpose_light_1", OPENPOSE18)
    new = checkpoints.default_spec("openpose_light_1", OTHER)
    axes = channel_axes(old)
    assert axes["initial.heatmaps.2.weight"] == ChannelAxis(0, 0, 0)
    assert axes["initial.pafs.2.weight"] == ChannelAxis(0, 1, 0)
    states = [checkpoints.build_network(spec).state_dict() for spec in (old, new)]
    carried = carry_over(states[0], states[1], old=old, new=new)
    mixing = [name for name, place in axes.items() if place is None]
    assert mixing and not set(mixing) & set(carried)
    background = carried["initial.heatmaps.2.weight"][len(NAMES)]
    assert torch.equal(background, states[0]["initial.heatmaps.2.weight"][18])


def test_a_training_says_which_keypoints_it_keeps(tmp_path: Path):
    donor, old = tiny_network(seed=1)
    path = checkpoints.save(tmp_path / "donor.safetensors", donor.state_dict(), old)
    network, new = tiny_network(skeleton=OTHER, seed=2)
    notes = take_over(network, path, spec=new)
    total = len(network.state_dict())
    assert notes == [
        f"{total - 4} of {total} tensors taken over from {path}.",
        "Heads (4 tensors) for other keypoints: 3 of 6 heatmap channels kept by name, made anew: head_top, left_hand, "
        "tail.",
    ]
    same, spec = tiny_network(seed=3)
    assert take_over(same, path, spec=spec) == [f"{total} of {total} tensors taken over from {path}."]
    assert all(torch.equal(same.state_dict()[name], tensor) for name, tensor in donor.state_dict().items())
