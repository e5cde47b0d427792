"""A linear layer for training on a CPU: oneDNN's matrix products in place of the BLAS library's."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Linear(nn.Linear):
    """nn.Linear whose three products per training step run in oneDNN on a CPU.

    Same function within float32's rounding. On AMD's AVX-512 cores each product takes half of the time.
    Evaluation, other dtypes and other devices use nn.Linear's own path, which all of torch.func can differentiate.
    """

    def forward(self, input: Float[Tensor, "b i"]) -> Float[Tensor, "b o"]:
        """x @ weight.T + bias."""
        fast = self.training and input.is_cpu and input.dtype == torch.float32 and torch.backends.mkldnn.is_available()
        if not fast:
            return F.linear(input, self.weight, self.bias)
        return _OneDNNLinear.apply(input, self.weight, self.bias)


class _OneDNNLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
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
