"""Gradients of depthwise kernels by Numba: equal to PyTorch's, used where they are asked for, and nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tiny_recipe import tiny_recipe

torch = pytest.importorskip("torch")
pytest.importorskip("numba", reason="numba is not installed: pip install 'litepose[fast]'")

from litepose.errors import MissingPackageError, RecipeError  # noqa: E402
from litepose.training import depthwise, loop  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


def gradients(convolution, image, *, weigh) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the gradients of the picture and of the weights, of a sum of the output weighed cell by cell."""
    image = image.clone().requires_grad_()
    convolution.zero_grad(set_to_none=True)
    (convolution(image) * weigh).sum().backward()
    return image.grad, convolution.weight.grad.clone()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize(("kernel", "stride"), [(5, 1), (5, 2), (7, 1), (7, 2)])
def test_gradients_equal_pytorchs(kernel, stride, layout, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(24, 24, kernel, stride, kernel // 2, groups=24, bias=False)
    image = torch.randn(3, 24, 19, 14).to(memory_format=layout)
    weigh = torch.randn_like(convolution(image))
    expected = gradients(convolution, image, weigh=weigh)
    with depthwise.FastDepthwise():
        found = gradients(convolution, image, weigh=weigh)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_only_trained_depthwise_kernels_are_ours(monkeypatch):
    seen = []
    monkeypatch.setattr(depthwise, "weight_gradient", lambda image, *rest: seen.append(image.shape[1]) or None)
    image = torch.randn(1, 8, 9, 9, requires_grad=True)
    layers = {
        "depthwise 7": torch.nn.Conv2d(8, 8, 7, padding=3, groups=8, bias=False),
        "depthwise 3": torch.nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        "dense 7": torch.nn.Conv2d(8, 8, 7, padding=3, bias=False),
        "with a bias": torch.nn.Conv2d(8, 8, 7, padding=3, groups=8),
        "dilated": torch.nn.Conv2d(8, 8, 7, padding=6, dilation=2, groups=8, bias=False),
    }
    for name, layer in layers.items():
        seen.clear()
        with depthwise.FastDepthwise():
            layer(image).sum().backward()
        assert bool(seen) == (name == "depthwise 7"), name


def test_a_training_learns_the_same_with_it(tmp_path):
    weights = []
    for fast in (False, True):
        run, _ = loop.set_up(
            tiny_recipe(run={"fast_depthwise": fast}), tmp_path / str(fast), resume=False, start_from=None,
            device="cpu", evaluate=lambda network: {},
        )  # fmt: skip
        batch = next(iter(run.batches()))
        with loop.chosen_kernels(run.recipe.run, run.device):
            loop._differentiate(run, batch)
        weights.append({name: one.grad.clone() for name, one in run.state.network.named_parameters()})
    for name, gradient in weights[0].items():
        torch.testing.assert_close(weights[1][name], gradient, rtol=1e-3, atol=1e-3 * float(gradient.abs().max()))
    names = [name for name, one in weights[0].items() if one.ndim == 4 and one.shape[1] == 1 and one.shape[-1] == 7]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in names), "it was not used"


def test_without_numba_the_error_says_how_to_go_on(monkeypatch, tmp_path: Path):
    monkeypatch.setitem(sys.modules, "numba", None)
    depthwise.compiled.cache_clear()
    with pytest.raises(MissingPackageError, match=r"litepose\[fast\].*run.fast_depthwise=false"):
        loop.train(tiny_recipe(run={"fast_depthwise": True}), tmp_path, evaluate=lambda network: {})
    monkeypatch.undo()
    depthwise.compiled.cache_clear()


def test_it_does_not_go_with_torch_compile():
    with pytest.raises(RecipeError, match=r"run.compile and run.fast_depthwise exclude each other"):
        tiny_recipe(run={"fast_depthwise": True, "compile": True})
