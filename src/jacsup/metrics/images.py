"""Reconstruction quality, on pixels in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from jacsup.code import UNIT, Code, to_float, to_unit
from jacsup.models import Autoencoder, device_of

# The most images, and the most numbers, in a chunk: constants, so that results do not depend on the machine's memory,
# and small enough that the allocator reuses a model's memory (larger chunks took twice as long).
CHUNK = 2000
CHUNK_NUMBERS = 2**19


def chunk_size(images: UInt8[Tensor, "n c h w"]) -> int:
    """Return how many images of this size a model processes at once.

    Args:
        images: Images (n, c, h, w), uint8.
    """
    return max(1, min(CHUNK, CHUNK_NUMBERS // images[0].numel()))


def chunks(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> Iterator[Float[Tensor, "b c h w"]]:
    """Yield images in the model's value range, on the model's device, in chunks.

    Args:
        model: The model.
        images: Images (n, c, h, w), uint8.
    """
    device = device_of(model)
    for part in images.split(chunk_size(images)):
        yield to_float(part.to(device), model.value_range)


@torch.no_grad()
def reconstruct(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Return reconstructions of images as pixels in [0, 1].

    Args:
        model: The model.
        images: Images (n, c, h, w), uint8.
    """
    outputs = [model.decode(model.encode(x)) for x in chunks(model, images)]
    return to_unit(torch.cat(outputs), model.value_range)


@torch.no_grad()
def code_of(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> Code:
    """Return the code of all images.

    Args:
        model: The model.
        images: Images (n, c, h, w), uint8.
    """
    codes = [model.encode(x) for x in chunks(model, images)]
    return Code(torch.cat([code.y for code in codes]), torch.cat([code.z for code in codes]))


def encode_all(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n u"]:
    """Return y and z of all images, concatenated.

    Args:
        model: The model.
        images: Images (n, c, h, w), uint8.
    """
    return code_of(model, images).units


@torch.no_grad()
def encode_factors(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n k"]:
    """Return the factors y of all images, without keeping their z in memory.

    Args:
        model: The model.
        images: Images (n, c, h, w), uint8.
    """
    return torch.cat([model.encode(x).y for x in chunks(model, images)])


def reconstruction_scores(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> dict[str, float]:
    """Return `mse`, `psnr` and `ssim` of a model's reconstructions of images, computed in chunks.

    Args:
        model: The model.
        images: Images (n, c, h, w), uint8.
    """
    parts = images.split(chunk_size(images))
    sums = {"mse": 0.0, "ssim": 0.0}
    for part in parts:
        pixels = reconstruct(model, part)
        sums["mse"] += len(part) * mse(pixels, part)
        sums["ssim"] += len(part) * ssim(pixels, part)
    error = sums["mse"] / len(images)
    return {"mse": error, "psnr": psnr(error), "ssim": sums["ssim"] / len(images)}


def reconstruction_mse(model: Autoencoder, images: UInt8[Tensor, "n c h w"]) -> float:
    """Return the mean squared error of a model's reconstructions of images, computed in chunks.

    Args:
        model: The model.
        images: Images (n, c, h, w), uint8.
    """
    parts = images.split(chunk_size(images))
    return sum(len(part) * mse(reconstruct(model, part), part) for part in parts) / len(images)


def mean_image_mse(images: UInt8[Tensor, "n c h w"]) -> float:
    """Return the mean squared error of the images' mean, for pixels in [0, 1]: the best output that ignores the input.

    Args:
        images: Images (n, c, h, w), uint8.
    """
    sums = squares = torch.zeros_like(images[0], dtype=torch.int64)
    for part in images.split(chunk_size(images)):
        sums, squares = sums + part.sum(dim=0), squares + part.long().square().sum(dim=0)
    count = len(images)
    return float((squares.cpu().double() / count - (sums.cpu().double() / count) ** 2).mean()) / 255**2


def reconstruction_warning(error: float, mean_image_error: float) -> str | None:
    """Return a warning if a model reconstructs no better than the mean image, which makes its other scores meaningless.

    For example, a model whose output hardly depends on its input keeps the judge's verdict in all swaps.

    Args:
        error: The mean squared error of its reconstructions.
        mean_image_error: The mean squared error of the mean image.
    """
    if error < mean_image_error:
        return None
    return (
        f"the model reconstructs no better than the mean image (MSE {error:.3g}, of the mean image "
        f"{mean_image_error:.3g}), so its other scores are meaningless; train longer, or lower the learning rate"
    )


def exact_sum(values: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """Return the sum in float64; a float32 sum over 10^7 pixels would lose digits.

    Args:
        values: Numbers on any device; on MPS, which has no float64, they are summed on the CPU.
    """
    return (values.cpu() if values.device.type == "mps" else values).sum(dtype=torch.float64)


def mse(pixels: Float[Tensor, "n c h w"], images: UInt8[Tensor, "n c h w"]) -> float:
    """Return the mean squared error of pixels in [0, 1] against uint8 images; 0 is exact.

    Args:
        pixels: Pixels in [0, 1], shape (n, c, h, w).
        images: Images (n, c, h, w), uint8.
    """
    errors = (pixels - to_float(images.to(pixels.device), UNIT)).square()
    return exact_sum(errors).item() / pixels.numel()


def psnr(mean_squared_error: float) -> float:
    """Return the peak signal-to-noise ratio in dB of a mean squared error in [0, 1] pixels; infinite for 0.

    Args:
        mean_squared_error: Mean squared error of pixels in [0, 1].
    """
    return -10 * math.log10(mean_squared_error) if mean_squared_error else math.inf


def ssim(pixels: Float[Tensor, "n c h w"], images: UInt8[Tensor, "n c h w"]) -> float:
    """Return the structural similarity, mean over images, in [-1, 1]; 1 is exact.

    The Gaussian window has 11 pixels (sigma 1.5), as in Wang et al. 2004, or 5 pixels (sigma 0.5) for images of fewer
    than 11 pixels. Below 3 pixels the score is nan, because there is no structure to compare.

    Args:
        pixels: Images to score, in [0, 1].
        images: The uint8 images that they should equal.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    size = min(images.shape[2:])
    if size < 3:
        return math.nan
    sigma, target = 1.5 if size >= 11 else 0.5, to_float(images.to(pixels.device), UNIT)
    score = structural_similarity_index_measure(pixels, target, data_range=1.0, sigma=sigma)
    assert isinstance(score, Tensor)
    return float(score)
