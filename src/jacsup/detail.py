"""How the detail of an image that a model does not reproduce follows an edit."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# The share of the detail that is kept where an edit changes the image strongly.
DETAIL = 0.8
# The change of a pixel, in [0, 1], from which on that share is kept; smaller changes keep more.
FULL_CHANGE = 0.1
# Pixels to each side of the windows in which a change is compared with the image, and the variance, of pixels in
# [0, 1], below which a window counts as flat.
WINDOW = 2
FLAT = 1e-3


def growth_of_detail(
    change: Float[Tensor, "*batch c h w"], image: Float[Tensor, "*batch c h w"], detail: float = DETAIL
) -> Float[Tensor, "*batch c h w"]:
    """Return by which share of itself the detail grows, from -1, none of it is left, to 1.

    If an edit halves the contrast of a mouth, it halves the contrast of the detail there.

    Args:
        change: What an edit changes in the image.
        image: The image before the edit; the range of its values is 1 wide.
        detail: The share that is kept where the image changes strongly, in [0, 1].
    """
    strong = (change.abs().amax(-3, keepdim=True) / FULL_CHANGE).clamp(max=1)
    return (_slope(change, image) - (1 - detail) * strong).clamp(min=-1)


def _slope(change: Tensor, image: Tensor) -> Tensor:
    """The slope, from -1 to 1, of the best linear map from the image to its change in the windows around each pixel.

    This is the coefficient of a guided filter (He et al. 2010).
    """

    def mean(values: Tensor) -> Tensor:
        padded = F.pad(values, (WINDOW,) * 4, mode="replicate")
        return F.avg_pool2d(padded, 2 * WINDOW + 1, stride=1)

    brightness = mean(image)
    covariance = mean(image * change) - brightness * mean(change)
    variance = mean(image * image) - brightness**2
    return mean((covariance / (variance + FLAT)).clamp(-1, 1))
