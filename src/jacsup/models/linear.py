"""Matrix products for training on a CPU: oneDNN's in place of the BLAS library's."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """nn.Linear whose three products per training step run in oneDNN on a CPU.

    Same function within float32's rounding. On AMD's AVX-512 cores each product takes half of the time.
    Other dtypes, other devices and evaluation with gradients use nn.Linear's own path, which all of torch.func can
    differentiate.
    """

    def forward(self, input: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        """x @ weight.T + bias."""
        if has_fast_products(input, training=self.training):
            return product(input, self.weight, self.bias)
        return F.linear(input, self.weight, self.bias)


def has_fast_products(x: Tensor, *, training: bool) -> bool:
    """Whether `product` can be used for x, and nobody will ask for derivatives that it lacks."""
    known = x.is_cpu and x.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    return known and (training or not torch.is_grad_enabled())


def product(x: Float[Tensor, "b i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"] | None) -> Tensor:
    """x @ weight.T + bias with gradients, in float32 on a CPU."""
    return _Product.apply(x, weight, bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # pyright: ignore
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        return (
            _product(grad, weight.T) if for_x else None,
            _product(grad.T, x.T) if for_weight else None,
            grad.sum(dim=0) if for_bias else None,
        )


def _product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """a @ b.T + bias; the operator behind torch.compile's CPU linear layers."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")
