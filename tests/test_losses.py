"""What the losses do beyond the numbers of their references."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from litepose.codecs import CODECS  # noqa: E402
from litepose.errors import SettingError  # noqa: E402
from litepose.losses import LOSSES, AELoss, HeatmapLoss, heatmap_loss, tag_loss  # noqa: E402


def one_person_targets(num_keypoints: int = 2, side: int = 4) -> SimpleNamespace:
    heatmaps = torch.zeros(1, num_keypoints, side, side)
    heatmaps[0, :, 1, 2] = 1
    indices = torch.zeros(1, 3, num_keypoints, 2, dtype=torch.int32)
    for k in range(num_keypoints):
        indices[0, 0, k] = torch.tensor([k * side * side + 1 * side + 2, 1])
    mask = torch.ones(1, 1, side, side)
    return SimpleNamespace(heatmaps=(heatmaps, heatmaps), masks=(mask, mask), tag_indices=indices)


def test_exact_heatmaps_and_equal_tags_cost_nothing():
    targets = one_person_targets()
    output = torch.cat([targets.heatmaps[0], torch.full((1, 2, 4, 4), 3.0)], dim=1)
    parts = AELoss()((output, targets.heatmaps[1]), targets)
    assert {name: float(value) for name, value in parts.items()} == {
        "heatmap_0": 0, "heatmap_1": 0, "push": 0, "pull": 0, "total": 0,
    }  # fmt: skip


def test_two_people_with_the_same_tag_cost_half_the_push():
    indices = torch.tensor([[[[0, 1]], [[1, 1]]]])  # two people with one keypoint each
    push, pull = tag_loss(torch.zeros(1, 1, 1, 2), indices)
    assert float(push) == 0.5  # 0.5 / (2 * 1) * (4 - 2)
    assert float(pull) == 0


def test_two_people_one_tag_unit_apart_are_pushed_by_exp_and_not_by_max():
    indices = torch.tensor([[[[0, 1]], [[1, 1]]]])
    tags = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    assert float(tag_loss(tags, indices, push="exp")[0]) == pytest.approx(0.5 * math.exp(-1))
    assert float(tag_loss(tags, indices, push="max")[0]) == 0


def test_people_without_visible_keypoints_change_nothing():
    tags = torch.randn(1, 2, 4, 4)
    targets = one_person_targets()
    more = torch.cat([targets.tag_indices, torch.zeros(1, 5, 2, 2, dtype=torch.int32)], dim=1)
    assert tag_loss(tags, more) == tag_loss(tags, targets.tag_indices)


def test_a_masked_cell_gets_no_gradient_and_stays_in_the_denominator():
    heatmaps = torch.ones(1, 1, 2, 2, requires_grad=True)
    mask = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]])
    loss = heatmap_loss(heatmaps, torch.zeros(1, 1, 2, 2), mask)
    loss.backward()
    assert float(loss.detach()) == 0.75
    assert heatmaps.grad.flatten().tolist() == [0, 0.5, 0.5, 0.5]


def test_the_foreground_weight_makes_the_empty_answer_dear():
    target = torch.zeros(1, 1, 8, 8)
    target[0, 0, 4, 4] = 1
    mask = torch.ones(1, 1, 8, 8)
    nothing = torch.zeros_like(target)
    plain, weighted = (float(heatmap_loss(nothing, target, mask, w)) for w in (0, 12))
    assert plain == 1 / 64
    assert weighted == pytest.approx(13 / 76)  # 13 of a total weight of 63 + 13


def test_the_foreground_weight_leaves_a_constant_error_as_it_is():
    target = torch.rand(2, 3, 4, 4)
    mask = torch.ones(2, 1, 4, 4)
    off_by_two = heatmap_loss(target + 2, target, mask, 12.0)
    assert float(off_by_two) == pytest.approx(4, rel=1e-5)  # a weighted mean of equal errors


def test_the_loss_is_computed_in_full_precision_inside_autocast():
    targets = one_person_targets()
    outputs = (torch.randn(1, 4, 4, 4, dtype=torch.bfloat16), torch.randn(1, 2, 4, 4, dtype=torch.bfloat16))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = AELoss()(outputs, targets)
    outside = AELoss()(tuple(output.float() for output in outputs), targets)
    assert inside == outside
    assert inside["total"].dtype == torch.float32


def test_a_picture_with_nobody_gives_finite_gradients():
    targets = one_person_targets()
    targets.tag_indices = torch.zeros_like(targets.tag_indices)
    output = torch.randn(1, 4, 4, 4, requires_grad=True)
    parts = AELoss()((output, torch.zeros(1, 2, 4, 4)), targets)
    parts["total"].backward()
    assert float(parts["push"]) == float(parts["pull"]) == 0
    assert torch.isfinite(output.grad).all()
    assert output.grad[:, 2:].abs().sum() == 0


def person_targets(num_keypoints: int = 3, side: int = 8, maps: int = 1) -> SimpleNamespace:
    heatmaps = torch.rand(2, maps * num_keypoints, side, side, generator=torch.Generator().manual_seed(1))
    return SimpleNamespace(heatmaps=heatmaps, weights=torch.ones(2, num_keypoints))


def test_every_codec_has_a_loss():
    assert set(LOSSES) == set(CODECS)


@pytest.mark.parametrize("maps", [1, 3])
def test_a_keypoint_without_weight_costs_nothing_and_teaches_nothing(maps):
    targets = person_targets(maps=maps)
    targets.weights[:, 1] = 0
    output = torch.randn(targets.heatmaps.shape, requires_grad=True)
    HeatmapLoss()((output,), targets)["total"].backward()
    gradient = output.grad.unflatten(1, (3, maps)).abs().sum((0, 2, 3, 4))
    assert gradient[1] == 0
    assert gradient[0] > 0 and gradient[2] > 0


def test_only_the_keypoints_with_the_largest_errors_count():
    targets = SimpleNamespace(heatmaps=torch.zeros(1, 3, 2, 2), weights=torch.ones(1, 3))
    output = torch.tensor([1.0, 3.0, 2.0]).reshape(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert float(HeatmapLoss(ohkm=2)((output,), targets)["total"]) == 6.5  # (9 + 4) / 2
    assert float(HeatmapLoss(ohkm=3)((output,), targets)["total"]) == pytest.approx(14 / 3)
    assert float(HeatmapLoss(ohkm=30)((output,), targets)["total"]) == pytest.approx(14 / 3)


@pytest.mark.parametrize("maps", [1, 3])
def test_the_foreground_weight_of_one_person_makes_missing_heat_dear(maps):
    heatmaps = torch.zeros(1, maps, 8, 8)
    heatmaps[0, 0, 4, 4] = 1
    targets = SimpleNamespace(heatmaps=heatmaps, weights=torch.ones(1, 1))
    plain, weighted = (
        float(HeatmapLoss(half=True, foreground_weight=w)((torch.zeros_like(heatmaps),), targets)["total"])
        for w in (0, 12)
    )
    assert plain == 0.5 / 64
    assert weighted == pytest.approx(0.5 * 13 / 76)  # 13 of a total weight of 63 + 13


def test_the_loss_of_one_person_is_computed_in_full_precision_inside_autocast():
    targets = person_targets()
    output = torch.randn(targets.heatmaps.shape).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = HeatmapLoss()((output,), targets)
    assert inside == HeatmapLoss()((output.float(),), targets)
    assert inside["total"].dtype == torch.float32


@pytest.mark.parametrize("setting", ["ohkm", "foreground_weight"])
def test_a_loss_with_a_negative_setting_names_it(setting):
    with pytest.raises(SettingError, match=f"{setting} -1"):
        HeatmapLoss(**{setting: -1})
