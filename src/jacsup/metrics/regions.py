"""The region of an attribute in images, and the share of an edit's change outside it."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from jacsup.metrics.attribute_judge import AttributeJudge

# The share of the judge's sensitivity inside a region.
REGION = 0.8
# Sensitivity is averaged over windows of this side, since strided layers weigh neighbouring pixels unequally.
WINDOW = 5


def attribute_regions(judge: AttributeJudge, pixels: Float[Tensor, "n c h w"]) -> Bool[Tensor, "k h w"]:
    """Return the region of each attribute: the fewest pixels with 80 % of the judge's sensitivity to it.

    The sensitivity is the mean over images of the squared gradient of the judge's output with respect to a pixel.

    Args:
        judge: The judge of k attributes.
        pixels: Images in [0, 1], all aligned in the same way.

    Returns:
        One mask per attribute, shape (k, h, w), True inside the region.
    """
    with torch.enable_grad():
        x = pixels.detach().requires_grad_()
        outputs = judge.network(x).sum(dim=0)
        gradients = (torch.autograd.grad(output, x, retain_graph=True)[0] for output in outputs)
        squares = torch.stack([gradient.square().sum(dim=1).mean(dim=0) for gradient in gradients])
    # Zeros beyond the border do not count.
    smooth = F.avg_pool2d(squares, WINDOW, stride=1, padding=WINDOW // 2, count_include_pad=False)
    largest, order = smooth.flatten(1).sort(dim=1, descending=True)
    before = largest.cumsum(dim=1) - largest
    inside = before < REGION * largest.sum(dim=1, keepdim=True)
    return torch.zeros_like(inside).scatter_(1, order, inside).view_as(smooth)


def change_outside(
    before: Iterable[Float[Tensor, "_ c h w"]], after: Iterable[Float[Tensor, "_ c h w"]], region: Bool[Tensor, "h w"]
) -> float:
    """Return the share of the squared change that lies outside a region; nan if nothing changes.

    Args:
        before: Images in [0, 1], in chunks.
        after: The same images, edited.
        region: The pixels that may change, shape (h, w).
    """
    change = torch.stack([(y - x).square().sum(dim=(0, 1)) for x, y in zip(before, after, strict=True)]).sum(dim=0)
    return float((change * ~region).sum() / change.sum())
