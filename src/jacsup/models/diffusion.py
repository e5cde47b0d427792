"""A model of photographs: a classifier predicts the attributes, and a diffusion model draws the edits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.code import Code
from jacsup.config import Diffusion
from jacsup.models.backbone import Model
from jacsup.models.linear import lowered

# The standard deviation of photographs in [-1, 1], by which the denoiser's input and output are scaled.
DEVIATION = 0.5
# The classifier's finest maps have half the image's side.
HALF = 2
GROUPS = 8
HEADS = 4
FREQUENCIES = 16
# A factor that differs by less than this from the photo's own is not edited.
LEAST_CHANGE = 1e-4
# Number of edits whose passes `decoding` keeps, each a few images per photo: enough for 1,000 photos of 64 pixels.
MOST_KEPT = 32

Start = Callable[..., tuple[Tensor, ...]]


@final
class DiffusionEditor(Model):
    """Map photographs x (b, c, s, s) to their factors y, with x itself as z, and back with other factors.

    The decoder is a denoiser D(x + sigma n; sigma, y), trained to restore photographs from noise, given their labels.
    An edit starts at the photo and follows the path between the denoiser's distributions for the photo's own factors
    and for the wanted ones, with the same noise for both (FlowEdit, Kulikov et al. 2025). So D(E(x), x) = x.
    """

    channels_last = True
    config: Diffusion
    encoder: _Classifier
    decoder: Denoiser
    noise: Tensor
    guidance: Tensor

    def __init__(
        self,
        config: Diffusion,
        image_shape: tuple[int, int, int],
        num_units: int,
        z_channels: int = 0,
        *,
        normalized: bool = False,
    ):
        """Build the layers with weights from torch's global random state.

        Args:
            config: Widths of the layers, and how edits are drawn.
            image_shape: Channels, height and width.
            num_units: Number of attributes.
            z_channels: Channels of z, which are those of the image.
            normalized: Not used: attributes have their own scale.

        Raises:
            ValueError: The images are not square, the layers do not divide their side, or z is not an image.
        """
        super().__init__(config, image_shape, num_units, z_channels, normalized=normalized)
        colours, height, width = image_shape
        halvings = config.patch << (len(config.channels) - 1), HALF << (len(config.encoder_channels) - 1)
        most_halved = math.lcm(*halvings)
        if height != width or height % most_halved:
            raise ValueError(
                f"images are {height}x{width}; with this model's layers they must be square, with a side that is a "
                f"multiple of {most_halved}"
            )
        if z_channels not in (0, colours):
            raise ValueError(f"z_channels is {z_channels}; it must be {colours}, because z is the image itself")
        self.encoder = _Classifier(config.encoder_channels, colours, num_units)
        self.decoder = Denoiser(config, colours, num_units)
        # The guidance for lowering (row 0) and raising (row 1) each factor.
        self.register_buffer("guidance", torch.full((2, num_units), config.guidance))
        # The same noise for all photos, on all machines.
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(len(config.noise_levels), *image_shape, generator=generator, device="cpu")
        self.register_buffer("noise", noise, persistent=False)
        self.passes_per_edit = 3 * len(config.noise_levels) - 1

    @property
    def code_size(self) -> int:
        """Number of values of a code, y and z together."""
        colours, height, width = self.image_shape
        return self.num_units + colours * height * width

    def encode(self, x: Float[Tensor, "b c s s"]) -> Code:
        """E(x): y of shape (b, num_units), about -1 without an attribute and 1 with it, and the image itself as z."""
        with lowered(x, bfloat16=self.in_bfloat16):
            y = self.encoder(x)
        return Code(y.to(x.dtype), x.flatten(1))

    def decode(self, code: Code) -> Float[Tensor, "b c s s"]:
        """D(y, z): the image z with the factors y; z itself if they equal its own."""
        return self._decode(code, self._start)

    def decoding(self) -> Callable[[Code], Float[Tensor, "b c s s"]]:
        """Return `decode` for fixed weights; moving the same slider again takes half the passes."""
        kept = lru_cache(MOST_KEPT)(lambda edit: self._start(*edit.of))
        return lambda code: self._decode(code, lambda *of: kept(_Edit.of_tensors(*of)))

    def _decode(self, code: Code, start: Start) -> Tensor:
        x = code.z.unflatten(1, self.image_shape)
        own = self.encode(x).y
        wanted = code.y - own
        if torch.compiler.is_compiling():
            return self._edited(x, own, wanted, range(self.num_units), start)
        changed = wanted.abs() > LEAST_CHANGE
        photos, factors = changed.any(dim=1), changed.any(dim=0).nonzero()[:, 0].tolist()
        edited = x.clone()
        if factors:
            edited[photos] = self._edited(x[photos], own[photos], wanted[photos], factors, start)
        return edited

    def denoise(
        self, noisy: Float[Tensor, "b c s s"], sigma: Float[Tensor, " b"], y: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b c s s"]:
        """Return the expected photographs, given noisy ones and their attributes.

        Args:
            noisy: Photographs plus noise of standard deviation sigma.
            sigma: Above 0, one for each photograph.
            y: Their attributes, shape (b, k): -1 without, 1 with it, 0 for unknown.
        """
        with lowered(noisy, bfloat16=self.in_bfloat16):
            return self.decoder(noisy, sigma, y)

    def _edited(self, x: Tensor, own: Tensor, wanted: Tensor, factors: Sequence[int], start: Start) -> Tensor:
        """The photographs x with factors that differ by `wanted` from their `own`, in the columns `factors`."""
        levels = [*self.config.noise_levels, 0.0]
        most = wanted.abs().amax(dim=1, keepdim=True).clamp(min=LEAST_CHANGE)
        direction = wanted / most
        # The largest change is scaled to that between -1 and 1, which the denoiser has learned. Its effect on the image
        # is then multiplied by the inverse.
        kept = own.clamp(-1, 1) * (1 - direction.abs())
        source, target = kept - direction, kept + direction
        weights = torch.where(direction > 0, self.guidance[1], self.guidance[0]) * most / 2
        # Each factor is changed separately, so that its effect is the same as alone.
        columns = torch.eye(self.num_units, dtype=torch.bool, device=x.device)
        targets = [torch.where(columns[factor], target, source) for factor in factors]
        started = start(x, source, *targets)
        of_photo, after = started[: len(self.noise)], started[len(self.noise) :]
        edited, before = x, of_photo[0]
        for number, (level, following) in enumerate(pairwise(levels)):
            if number:
                before, *after = self._denoised([(edited, number, y) for y in (source, *targets)])
            change = before - of_photo[number]
            for factor, changed in zip(factors, after, strict=True):
                change = change + weights[:, factor, None, None, None] * (changed - before)
            edited = edited + (1 - following / level) * (x + change - edited)
        return edited

    def _start(self, x: Tensor, source: Tensor, *targets: Tensor) -> tuple[Tensor, ...]:
        """The passes of an edit that do not depend on its strength: x at each level, and each target at the first."""
        of_photo = [(x, number, source) for number in range(len(self.noise))]
        return self._denoised([*of_photo, *((x, 0, target) for target in targets)])

    def _denoised(self, passes: Sequence[tuple[Tensor, int, Tensor]]) -> tuple[Tensor, ...]:
        """Photographs with the noise of the numbered levels, denoised with the factors y, in one batch."""
        levels = self.config.noise_levels
        noisy = torch.cat([x + levels[number] * self.noise[number] for x, number, _ in passes])
        sigma = torch.cat([torch.full_like(y[:, 0], levels[number]) for _, number, y in passes])
        restored = self.denoise(noisy, sigma, torch.cat([y for _, _, y in passes]))
        return restored.unflatten(0, (len(passes), -1)).unbind()


@dataclass(frozen=True)
class _Edit:
    """Tensors that are equal if their contents are equal."""

    content: bytes
    of: tuple[Tensor, ...] = field(compare=False)

    @classmethod
    def of_tensors(cls, *tensors: Tensor) -> _Edit:
        return cls(b"".join(tensor.detach().cpu().numpy().tobytes() for tensor in tensors), tensors)


class _Classifier(nn.Module):
    """Convolutions that halve the side, and a linear layer from the mean of the last maps to num_units numbers."""

    def __init__(self, channels: tuple[int, ...], colours: int, num_units: int):
        super().__init__()
        widths = (colours * HALF**2, *channels)
        layers: list[nn.Module] = [nn.PixelUnshuffle(HALF)]
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += _convolved(inputs, outputs, stride=1 if number == 0 else 2)
            layers += _convolved(outputs, outputs) if 0 < number < len(channels) - 1 else []
        self.layers = nn.Sequential(*layers)
        self.to_y = nn.Linear(channels[-1], num_units)

    def forward(self, x: Float[Tensor, "b c s s"]) -> Float[Tensor, "b k"]:
        return self.to_y(self.layers(x).mean(dim=(2, 3)))


def _convolved(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.GroupNorm(GROUPS, outputs), nn.SiLU()]


class Denoiser(nn.Module):
    """U-Net with the scaling of Karras et al. 2022 (EDM); noise level and attributes modulate every block."""

    frequencies: Tensor

    def __init__(self, config: Diffusion, colours: int, num_units: int):
        super().__init__()
        self.patch = config.patch
        widths, width, pixels = config.channels, config.embedding, colours * config.patch**2
        self.of_sigma = nn.Sequential(nn.Linear(2 * FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.of_y = nn.Linear(num_units, width, bias=False)
        self.from_image = nn.Conv2d(pixels, widths[0], 3, padding=1)
        self.down = nn.ModuleList(_Block(channels, channels, width) for channels in widths)
        self.coarser = nn.ModuleList(nn.Conv2d(fine, coarse, 3, 2, 1) for fine, coarse in pairwise(widths))
        self.attention = _Attention(widths[-1])
        self.middle = _Block(widths[-1], widths[-1], width)
        self.finer = nn.ModuleList(nn.Conv2d(coarse, fine, 3, padding=1) for fine, coarse in pairwise(widths))
        self.up = nn.ModuleList(_Block(2 * channels, channels, width) for channels in widths)
        self.to_image = nn.Sequential(
            nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), _zero(nn.Conv2d(widths[0], pixels, 3, padding=1))
        )
        frequencies = torch.logspace(-1, 4, FREQUENCIES, base=2.0)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, noisy: Tensor, sigma: Tensor, y: Tensor) -> Tensor:
        """Return the denoised images; see `DiffusionEditor.denoise`."""
        # EDM, table 1: the network's input has unit variance, and its output counts more the more noise there is.
        variance = (sigma**2 + DEVIATION**2)[:, None, None, None]
        angles = sigma.log()[:, None] / 4 * self.frequencies
        embedding = F.silu(self.of_sigma(torch.cat([angles.sin(), angles.cos()], dim=1)) + self.of_y(y))
        maps = self.from_image(F.pixel_unshuffle(noisy * variance.rsqrt(), self.patch))
        skipped = [maps := self.down[0](maps, embedding)]
        for coarser, block in zip(self.coarser, list(self.down)[1:], strict=True):
            skipped.append(maps := block(coarser(maps), embedding))
        maps = self.middle(self.attention(maps), embedding)
        for level in reversed(range(len(self.up))):
            maps = self.up[level](torch.cat([maps, skipped[level]], dim=1), embedding)
            if level:
                maps = self.finer[level - 1](F.interpolate(maps, scale_factor=2.0))
        rest = F.pixel_shuffle(self.to_image(maps), self.patch).to(noisy.dtype)
        return (noisy * DEVIATION**2) / variance + rest * (sigma[:, None, None, None] * DEVIATION) * variance.rsqrt()


class _Block(nn.Module):
    """Residual block whose maps the embedding scales and shifts."""

    def __init__(self, inputs: int, outputs: int, embedding: int):
        super().__init__()
        self.norm_in, self.conv_in = nn.GroupNorm(GROUPS, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm_out, self.conv_out = (
            nn.GroupNorm(GROUPS, outputs, affine=False),
            _zero(nn.Conv2d(outputs, outputs, 3, padding=1)),
        )
        self.modulation = nn.Linear(embedding, 2 * outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, maps: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, dim=1)
        inner = self.norm_out(self.conv_in(F.silu(self.norm_in(maps))))
        return self.skip(maps) + self.conv_out(F.silu(inner * (1 + scale) + shift))


class _Attention(nn.Module):
    """Self-attention between all positions of a map."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm, self.to_qkv = nn.GroupNorm(GROUPS, channels), nn.Conv2d(channels, 3 * channels, 1)
        self.to_maps = _zero(nn.Conv2d(channels, channels, 1))

    def forward(self, maps: Tensor) -> Tensor:
        batch, channels, *side = maps.shape
        qkv = self.to_qkv(self.norm(maps)).reshape(batch, 3, HEADS, channels // HEADS, -1).transpose(3, 4)
        seen = F.scaled_dot_product_attention(*qkv.unbind(dim=1))
        return maps + self.to_maps(seen.transpose(2, 3).reshape(batch, channels, *side))


def _zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with all weights set to 0, so that adding its output changes nothing at first."""
    for weight in layer.parameters():
        nn.init.zeros_(weight)
    return layer
