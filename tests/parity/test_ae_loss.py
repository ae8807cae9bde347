"""`AELoss` against values and gradients of mit-han-lab/litepose@00b702d."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from parity.fixtures import cases, load_case

torch = pytest.importorskip("torch")

from litepose.losses import AELoss, tag_loss  # noqa: E402

# float32 sums over a few thousand terms, added in another order; gradients are of the order 1e-5 to 1e-3.
VALUES = {"rtol": 1e-5, "atol": 1e-9}
GRADIENTS = {"rtol": 1e-4, "atol": 1e-9}


def fixture(case: str):
    description, arrays = load_case("ae-loss", case)
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    outputs = tuple(tensors[f"output_{i}"].clone().requires_grad_() for i in range(2))
    targets = SimpleNamespace(
        heatmaps=tuple(tensors[f"heatmaps_{i}"] for i in range(2)),
        masks=tuple(tensors[f"mask_{i}"][:, None] for i in range(2)),
        tag_indices=tensors["joints_0"],
    )
    return description["ae_loss_type"], tensors, outputs, targets


@pytest.mark.parametrize("case", cases("ae-loss"))
def test_every_part_of_the_loss_equals_the_reference(case):
    push, tensors, outputs, targets = fixture(case)
    parts = AELoss(push=push)(outputs, targets)
    expected = {
        "heatmap_0": tensors["heatmap_loss_0"].mean(),
        "heatmap_1": tensors["heatmap_loss_1"].mean(),
        "push": tensors["push_0"],
        "pull": tensors["pull_0"],
        "total": tensors["total"],
    }
    for name, value in expected.items():
        torch.testing.assert_close(parts[name], value, **VALUES)
    assert set(parts) == set(expected)


@pytest.mark.parametrize("case", cases("ae-loss"))
def test_the_gradients_equal_the_reference(case):
    push, tensors, outputs, targets = fixture(case)
    AELoss(push=push)(outputs, targets)["total"].backward()
    for i, output in enumerate(outputs):
        torch.testing.assert_close(output.grad, tensors[f"grad_{i}"], **GRADIENTS)


@pytest.mark.parametrize("case", cases("ae-loss"))
def test_push_and_pull_have_the_gradients_of_the_reference_each(case):
    push, tensors, outputs, targets = fixture(case)
    num_keypoints = targets.heatmaps[0].shape[1]
    for index, name in enumerate(("push", "pull")):
        tags = outputs[0].detach()[:, num_keypoints:].clone().requires_grad_()
        value = tag_loss(tags, targets.tag_indices, push=push)[index]
        value.backward()
        torch.testing.assert_close(value, tensors[f"{name}_raw"], **VALUES)
        torch.testing.assert_close(tags.grad, tensors[f"grad_{name}_tags"], **GRADIENTS)
        torch.testing.assert_close(value.double(), tensors[f"per_image_{name}"].mean(), **VALUES)


@pytest.mark.parametrize("case", cases("ae-loss"))
def test_a_mask_plane_for_each_keypoint_gives_the_same_as_one_for_all(case):
    push, _, outputs, targets = fixture(case)
    spread = SimpleNamespace(
        heatmaps=targets.heatmaps,
        masks=tuple(mask.expand_as(heat) for mask, heat in zip(targets.masks, targets.heatmaps, strict=True)),
        tag_indices=targets.tag_indices,
    )
    with torch.no_grad():
        assert AELoss(push=push)(outputs, spread) == AELoss(push=push)(outputs, targets)
