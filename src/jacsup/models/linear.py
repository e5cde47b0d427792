"""Matrix products for training on a CPU by oneDNN instead of BLAS, fused with activations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

Activation = Literal["none", "relu", "tanh"]
ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "relu": F.relu, "tanh": torch.tanh}
ONEDNN = torch.backends.mkldnn.is_available()
FUSED: dict[type[nn.Module], Activation] = {nn.ReLU: "relu", nn.Tanh: "tanh"}


class Linear(nn.Linear):
    """nn.Linear whose three products per training step run in oneDNN on a CPU.

    The result is the same up to float32 rounding. On AMD's AVX-512 cores each product takes half the time. Other
    dtypes, other devices and evaluation with gradients use nn.Linear's own code, which all of torch.func can
    differentiate.
    """

    def forward(self, input: Float[Tensor, "b i"], activation: Activation = "none") -> Float[Tensor, "b o"]:
        """Return activation(input @ weight.T + bias)."""
        if has_fast_products(input, training=self.training):
            return product(input, self.weight, self.bias, activation)
        return ACTIVATIONS[activation](F.linear(input, self.weight, self.bias))


class Layers(nn.Sequential):
    """Sequence of layers in which an activation is fused with the linear layer before it."""

    def forward(self, input: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        """Return the last layer's output."""
        layers = list(self)
        while layers:
            layer = layers.pop(0)
            if isinstance(layer, Linear) and layers and type(layers[0]) in FUSED:
                input = layer(input, FUSED[type(layers.pop(0))])
            else:
                input = layer(input)
        return input


def has_fast_products(x: Tensor, *, training: bool) -> bool:
    """Return whether `product` supports `x` and has all derivatives that may be needed."""
    if torch.compiler.is_compiling() or not (x.is_cpu and x.dtype == torch.float32 and ONEDNN):
        return False
    return (training or not torch.is_grad_enabled()) and not torch.is_autocast_enabled("cpu")


def lowered(x: Tensor, *, bfloat16: bool) -> AbstractContextManager[Any]:
    """Return a context in which layers compute in bfloat16 if `bfloat16` is true, and otherwise as outside of it."""
    return torch.autocast(x.device.type, torch.bfloat16) if bfloat16 else nullcontext()


def product(
    x: Float[Tensor, "b i"],
    weight: Float[Tensor, "o i"],
    bias: Float[Tensor, " o"] | None,
    activation: Activation = "none",
) -> Float[Tensor, "b o"]:
    """Return activation(x @ weight.T + bias) with gradients, in float32 on a CPU."""
    return _Product.apply(x, weight, bias, activation)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, activation: Activation) -> Tensor:
        output = _product(x, weight, bias, activation)
        ctx.activation = activation
        ctx.save_for_backward(x, weight, *([] if activation == "none" else [output]))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, *output = ctx.saved_tensors
        if ctx.activation == "relu":
            grad = torch.ops.aten.threshold_backward(grad, *output, 0)
        elif ctx.activation == "tanh":
            grad = torch.ops.aten.tanh_backward(grad, *output)
        for_x, for_weight, for_bias, _ = ctx.needs_input_grad
        return (
            _product(grad, weight.T) if for_x else None,
            _product(grad.T, x.T) if for_weight else None,
            grad.sum(dim=0) if for_bias else None,
            None,
        )


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None, activation: Activation = "none") -> Tensor:
    """activation(a @ b.T + bias); the operator behind torch.compile's CPU linear layers."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, activation, [], "")
