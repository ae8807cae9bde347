"""What a network costs: parameters and multiply-accumulates, layer by layer, truly and by its authors' way of counting.

`macs` counts convolutions and linear layers as they are executed: a transposed convolution does its work at each
INPUT position; a bias is not counted. `macs_reference` is the rule (`RULES`) under which the published figures of the
network's authors come out; a family names its rule in its `DEFAULT.counting`. Some authors divide by powers of two
and still write M and G; a rule knows that too.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from litepose import models
from litepose.errors import SettingError, nearest_name


@dataclass(frozen=True)
class Rule:
    """How a network's authors counted.

    says: in words. layer: the cost of one leaf module for what it got and gave.
    binary: their M is 2^20 and their G 2^30, else 10^6 and 10^9.
    last_call_only: a module that is called several times costs its last call.
    """

    says: str
    layer: Callable[[nn.Module, Tensor, Tensor], int]
    binary: bool = False
    last_call_only: bool = False

    def printed(self, macs: int) -> str:
        """Return a count as the authors would print it, with their unit: "205.2 M (M = 2^20)"."""
        mega, giga = (2**20, 2**30) if self.binary else (10**6, 10**9)
        if macs >= giga:
            return f"{macs / giga:.2f} G (G = {'2^30' if self.binary else '10^9'})"
        return f"{macs / mega:.1f} M (M = {'2^20' if self.binary else '10^6'})"


@dataclass(frozen=True)
class LayerCount:
    """One executed layer: its module name, class, output shape without the batch, parameters, MACs."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    params: int
    macs: int
    macs_reference: int


@dataclass(frozen=True)
class Counts:
    """Of one picture through a network; `layers` in the order of execution, `rule` the name of macs_reference's."""

    params: int
    macs: int
    macs_reference: int
    layers: tuple[LayerCount, ...]
    rule: str


def count(network: nn.Module, size: tuple[int, int], *, rule: str = "litepose") -> Counts:
    """Count one forward pass over an input of `size` (w, h); nothing is computed, only shapes run.

    rule: of macs_reference, a name in `RULES`. Raises SettingError.
    """
    return count_module(network, (3, size[1], size[0]), rule=rule)


def count_module(module: nn.Module, shape: tuple[int, int, int], *, rule: str = "litepose") -> Counts:
    """Count one forward pass of any module over an input of `shape` (C, H, W). Raises SettingError."""
    if rule not in RULES:
        raise SettingError(f"No rule of counting {rule!r}. {nearest_name(rule, RULES)}")
    module = copy.deepcopy(module).to("meta").eval()
    layers: list[LayerCount] = []
    for name, part in module.named_modules():
        if not list(part.children()):
            part.register_forward_hook(_recorder(name, layers, RULES[rule]))
    with torch.no_grad():
        module(torch.empty(1, *shape, device="meta"))
    if RULES[rule].last_call_only:
        layers = _last_calls(layers)
    return Counts(
        params=sum(parameter.numel() for parameter in module.parameters()),
        macs=sum(layer.macs for layer in layers),
        macs_reference=sum(layer.macs_reference for layer in layers),
        layers=tuple(layers),
        rule=rule,
    )


def by_part(layers: Sequence[LayerCount]) -> tuple[LayerCount, ...]:
    """Sum layers over the parts of a network, a stage or a head each: their `kind` says how many layers they have.

    A part is a layer's name up to its first number ("stages.2"), or its first two words. `output_shape` is that of the
    part's last layer.
    """
    parts: dict[str, list[LayerCount]] = {}
    for layer in layers:
        parts.setdefault(_part_of(layer.name), []).append(layer)
    return tuple(
        LayerCount(
            name=name,
            kind=f"{len(own)} layers" if len(own) > 1 else own[0].kind,
            output_shape=own[-1].output_shape,
            params=sum(layer.params for layer in own),
            macs=sum(layer.macs for layer in own),
            macs_reference=sum(layer.macs_reference for layer in own),
        )
        for name, own in parts.items()
    )


def _part_of(layer: str) -> str:
    words = layer.split(".")
    numbers = [place for place, word in enumerate(words) if word.isdecimal()]
    return ".".join(words[: numbers[0] + 1] if numbers else words[: max(1, min(2, len(words) - 1))])


def rule_of(model: str) -> str:
    """Return the name of the rule by which the authors of a named network counted. Raises ModelError."""
    default = models.family_of(model).DEFAULT
    return default.counting_by_variant.get(model, default.counting)


def true_macs(module: nn.Module, x: Tensor, output: Tensor) -> int:
    """Return the multiply-accumulates of one leaf module as it is executed."""
    if isinstance(module, nn.Conv2d):
        return output.numel() * module.weight[0].numel()  # (out, in / groups, k, k)
    if isinstance(module, nn.ConvTranspose2d):
        return x[:, 0].numel() * module.weight.numel()  # (in, out / groups, k, k)
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    return 0


def _at_outputs(module: nn.Module, x: Tensor, output: Tensor) -> int:
    # HRNet's own summary (zhang943/lpn-pytorch@f397525, lib/utils/utils.py).
    if isinstance(module, nn.ConvTranspose2d):
        return output[:, 0].numel() * module.weight.numel()
    return true_macs(module, x, output)


_LITEPOSE_PER_ELEMENT = {nn.BatchNorm2d: 2, nn.ReLU6: 1, nn.ReLU: 2, nn.Upsample: 2, nn.UpsamplingNearest2d: 1}


def _litepose(module: nn.Module, x: Tensor, output: Tensor) -> int:
    # ptflops, as mit-han-lab/litepose@00b702d uses it. It sees ReLU, pools and upsampling twice: the module and the
    # function that it calls. UpsamplingNearest2d stands for a function that the authors call without a module.
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return 2 * x.numel()
    per_element = _LITEPOSE_PER_ELEMENT.get(type(module), 0)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
        per_element = 1
    return _at_outputs(module, x, output) + per_element * output.numel()


def _elements(module: nn.Module, x: Tensor, output: Tensor) -> int:
    per_element = {nn.BatchNorm2d: 2, nn.ReLU: 1, nn.ReLU6: 1, nn.ELU: 1}.get(type(module), 0)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
        per_element = 1
    return true_macs(module, x, output) + per_element * output.numel()


def _torchstat(module: nn.Module, x: Tensor, output: Tensor) -> int:
    # The copy of torchstat in HRNet/Lite-HRNet@7b9049d, its oversights included: nothing but leaf modules is seen.
    if isinstance(module, nn.AdaptiveAvgPool2d):
        assert output.shape[2:] == (1, 1), f"the rule is known for pools to 1x1, not to {tuple(output.shape)}"
        return x.shape[1] * (x.shape[2] + 1) * (x.shape[3] + 1)
    if isinstance(module, nn.Upsample):
        return output[:, 0].numel()  # the channels are forgotten
    return _elements(module, x, output)


# Where a transposed convolution is charged at its outputs, it costs 4 times the truth at stride 2.
RULES = {
    "litepose": Rule(
        "as ptflops: deconvolutions at their outputs; norm, ReLU, pools and upsampling 2 an element, bias and ReLU6 1",
        _litepose,
    ),
    "torchstat": Rule(
        "as torchstat: leaf modules once; bias 1 an element, norm 2, ReLU 1; pools to 1x1; upsampling",
        _torchstat,
        binary=True,
        last_call_only=True,
    ),
    "higherhrnet": Rule("as HRNet's summary, but in powers of ten: see lpn", _at_outputs),
    "elements": Rule("deconvolutions at their inputs; bias 1 an element, norm 2, activation 1", _elements),
    "lpn": Rule("as HRNet's summary: deconvolutions at their outputs; nothing but weights", _at_outputs, binary=True),
}


def _recorder(name: str, layers: list[LayerCount], rule: Rule):
    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        macs, macs_reference = true_macs(module, inputs[0], output), rule.layer(module, inputs[0], output)
        params = sum(parameter.numel() for parameter in module.parameters())
        if macs_reference or params:
            shape = tuple(output.shape[1:])
            layers.append(LayerCount(name, type(module).__name__, shape, params, macs, macs_reference))

    return record


def _last_calls(layers: list[LayerCount]) -> list[LayerCount]:
    last = {layer.name: i for i, layer in enumerate(layers)}
    return [
        layer if last[layer.name] == i else dataclasses.replace(layer, macs_reference=0)
        for i, layer in enumerate(layers)
    ]
