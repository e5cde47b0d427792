"""A model of photographs: a classifier predicts the attributes, and a diffusion model draws the edits."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from threading import Lock
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.code import Code
from jacsup.config import Diffusion
from jacsup.detail import growth_of_detail
from jacsup.models.backbone import Model
from jacsup.models.linear import lowered

# The standard deviation of photographs in [-1, 1], by which the denoiser's input and output are scaled.
DEVIATION = 0.5
# Larger images are averaged down to this side for the classifier, whose finest maps have half of it.
LARGEST_CLASSIFIED, HALF = 64, 2
# Where a change is kept is stored at half of the image's resolution, with at most this side.
LARGEST_PLACES = 32
GROUPS = 8
HEADS = 4
FREQUENCIES = 16
# To lower a factor, guidance is smaller: more leaves the negative of what is removed.
LOWERING = 0.5
# A factor that differs by less than this from the photo's own is not edited.
LEAST_CHANGE = 1e-4
# A change is kept where its mean size in a window is at least this share of the largest. Windows grow with the photo.
LEAST_SHARE, SMALLEST_WINDOW = 0.15, 5
EDGE = 0.08
# The noise level, as a share of the image's side, up to which the denoiser loses nothing but details.
FINEST = 1 / 64
# Number of changes that are drawn in one batch.
MOST_AT_ONCE = 64
# Number of changes that `decoding` keeps, each as large as the photo.
MOST_KEPT = 512

# From photos, their factors, the number of one factor for each and whether it is raised, to the changes in the photos.
Changes = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@final
class DiffusionEditor(Model):
    """Map photographs x (b, c, s, s) to their factors y, with x itself as z, and back with other factors.

    The decoder is a denoiser D(x + sigma n; sigma, y), trained to restore photographs from noise, given their labels.
    The change of a factor is drawn once for a photo: it starts at the photo and follows the path between the denoiser's
    distributions without and with the attribute, with the same noise for both (FlowEdit, Kulikov et al. 2025). D adds
    it in proportion to the strength. So D(E(x), x) = x, and D is linear in y on either side of the photo's own factors.
    """

    channels_last = True
    independent_factors = True
    launch_bound = True
    config: Diffusion
    encoder: _Classifier
    decoder: Denoiser
    noise: Tensor
    guidance: Tensor
    excluded: Tensor
    places: Tensor

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
        self.encoder = _Classifier(config.encoder_channels, image_shape, num_units)
        self.decoder = Denoiser(config, colours, num_units)
        # The guidance with which the change for lowering (row 0) and raising (row 1) each factor is drawn.
        self.register_buffer("guidance", self.usual_guidance[:, None].repeat(1, num_units))
        # In the row of a factor, 1 for each factor that it excludes.
        self.register_buffer("excluded", torch.zeros(num_units, num_units))
        # How much of the change is kept at each position of the image, from 0 to 1.
        side = min(height // 2, LARGEST_PLACES)
        self.register_buffer("places", torch.ones(2, num_units, side, side))
        self.window = max(SMALLEST_WINDOW, 2 * (height // 32) + 1)
        # The same noise for all photos, on all machines.
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(len(config.noise_levels), *image_shape, generator=generator, device="cpu")
        self.register_buffer("noise", noise, persistent=False)
        # At the first level, nothing is edited yet.
        self.passes_per_edit = 3 * len(config.noise_levels) - 1

    @property
    def code_size(self) -> int:
        """Number of values of a code, y and z together."""
        colours, height, width = self.image_shape
        return self.num_units + colours * height * width

    @property
    def usual_guidance(self) -> Float[Tensor, "2"]:
        """The guidance with which changes for lowering and raising a factor are drawn before calibration."""
        return torch.tensor([LOWERING, 1.0]) * self.config.guidance

    def encode(self, x: Float[Tensor, "b c s s"]) -> Code:
        """E(x): y of shape (b, num_units), about -1 without an attribute and 1 with it, and the image itself as z."""
        with lowered(x, bfloat16=self.in_bfloat16):
            y = self.encoder(x)
        return Code(y.to(x.dtype), x.flatten(1))

    def decode(self, code: Code, changes: Changes | None = None) -> Float[Tensor, "b c h w"]:
        """D(y, z): the image z plus the change of each factor, in proportion to how far it is from the image's own.

        Args:
            code: The factors and the image.
            changes: `changes` or a function that returns the same.
        """
        changes = changes or self.changes
        x = code.z.unflatten(1, self.image_shape)
        own = self.encode(x).y
        wanted = code.y - own
        if torch.compiler.is_compiling():
            # All factors of all photos, as a traced program cannot have sizes that depend on values.
            pairs = torch.arange(wanted.numel(), device=x.device)
            parts = [(pairs // self.num_units, pairs % self.num_units)]
        else:
            pairs = (wanted.abs() > LEAST_CHANGE).nonzero()
            parts = [part.unbind(dim=1) for part in pairs.split(MOST_AT_ONCE)] if len(pairs) else []
        edited = x.clone()
        for photos, factors in parts:
            raised = wanted[photos, factors] > 0
            change = self._without_faint(changes(x[photos], own[photos], factors, raised), factors, raised)
            # The whole change is drawn for the way between the labels, or from a factor beyond its label to the other.
            way = 1 + torch.where(raised, -1, 1) * own[photos, factors]
            weights = wanted[photos, factors].abs() / way.clamp(min=2)
            edited = edited.index_add(0, photos, weights[:, None, None, None] * change)
        return edited

    def decoding(self) -> Callable[[Code], Float[Tensor, "b c h w"]]:
        """Return `decode` for fixed weights; moving a slider of the same photo again takes no pass."""
        return partial(self.decode, changes=KeptChanges(self.changes))

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

    def changes(
        self,
        x: Float[Tensor, "n c s s"],
        own: Float[Tensor, "n k"],
        factors: Int[Tensor, " n"],
        raised: Bool[Tensor, " n"],
    ) -> Float[Tensor, "n c s s"]:
        """Draw what one factor changes in each photo, wherever it does.

        Args:
            x: The photos.
            own: Their factors.
            factors: The number of one factor for each photo.
            raised: Whether it is raised to 1 or lowered to -1.
        """
        # The others keep the photo's own values, within those that the denoiser has learned, except those that a raised
        # factor excludes: a face that keeps the label of no beard hardly gets a goatee.
        columns = F.one_hot(factors, self.num_units).bool()
        own = torch.where(raised[:, None] & (self.excluded[factors] > 0), -1.0, own.clamp(-1, 1))
        sign = torch.where(raised, 1.0, -1.0).to(x)[:, None]
        source, target = (torch.where(columns, side * sign, own) for side in (-1, 1))
        guidance = self.guidance[raised.long(), factors, None, None, None]
        edited = x
        for number, (level, following) in enumerate(pairwise([*self.config.noise_levels, 0.0])):
            noise = level * self.noise[number]
            passes = [(x + noise, source), (edited + noise, target), (edited + noise, source)]
            of_photo, after, *rest = self._denoised(level, passes if number else passes[:2])
            before = rest[0] if rest else of_photo
            guided = before + self._guided(level) * guidance * (after - before)
            aim = guided + self._kept_detail(edited - x, x, level) * (x - of_photo)
            edited = edited + (1 - following / level) * (aim - edited)
        return edited - x

    def _kept_detail(self, change: Tensor, x: Tensor, level: float) -> Tensor:
        """The share that is kept of what the denoiser loses of the photos at a noise level.

        It is all of it, except of details, where the edit removes contrast: closed lips would show outlines of teeth.
        """
        if level > self.image_shape[1] * FINEST:
            return torch.ones_like(x)
        low, high = self.value_range
        return 1 + growth_of_detail(change / (high - low), x / (high - low)).clamp(max=0)

    def _guided(self, level: float) -> float:
        """The share of the guidance that is used at a noise level.

        Where noise hides the photo, guidance exaggerates colours and contrasts; where there is hardly any, it adds
        grain (Kynkäänniemi et al. 2024).
        """
        side = self.image_shape[1]
        return 1 / (1 + 8 * level / side) / (1 + side / 128 / level)

    def _without_faint(self, change: Tensor, factors: Tensor, raised: Tensor) -> Tensor:
        """The change without its faint parts: where the factor rarely changes photos, and elsewhere in this photo."""
        places = self.places[raised.long(), factors, None]
        change = F.interpolate(places, change.shape[2:], mode="bilinear") * change
        return change * where_large(change.abs().mean(dim=1, keepdim=True), self.window, LEAST_SHARE)

    def _denoised(self, level: float, passes: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
        """Noisy photographs, denoised with the factors y, in one batch."""
        noisy, y = (torch.cat(tensors) for tensors in zip(*passes, strict=True))
        restored = self.denoise(noisy, torch.full_like(y[:, 0], level), y)
        return restored.unflatten(0, (len(passes), -1)).unbind()


def where_large(sizes: Float[Tensor, "b c h w"], window: int, share: float) -> Float[Tensor, "b c h w"]:
    """Return about 1 where a size is above a share of its map's largest, and about 0 elsewhere, with a soft edge.

    Args:
        sizes: Maps of numbers of at least 0.
        window: Odd side of the square windows over which sizes are averaged, without what is beyond the border.
        share: From 0 to 1; there, the result is 1/2.
    """
    means = F.avg_pool2d(sizes, window, stride=1, padding=window // 2, count_include_pad=False)
    return torch.sigmoid((means / means.amax(dim=(2, 3), keepdim=True).clamp(min=1e-6) - share) / EDGE)


class KeptChanges:
    """`DiffusionEditor.changes` for fixed weights, which keeps the latest changes of each photograph."""

    def __init__(self, changes: Changes):
        self.changes, self.kept, self.lock = changes, dict[tuple[bytes, int, bool], Tensor](), Lock()

    def __call__(self, x: Tensor, own: Tensor, factors: Tensor, raised: Tensor) -> Tensor:
        """Return the changes; see `DiffusionEditor.changes`."""
        contents = [hashlib.blake2b(photo.numpy().tobytes()).digest() for photo in x.detach().cpu().contiguous()]
        keys = [*zip(contents, factors.tolist(), raised.tolist(), strict=True)]
        with self.lock:
            found = {key: self.kept.pop(key) for key in keys if key in self.kept}
        new = [number for number, key in enumerate(keys) if key not in found]
        if new:
            drawn = self.changes(x[new], own[new], factors[new], raised[new])
            # Copies, because one photo's view would keep the whole batch in memory.
            found |= {keys[number]: change.clone() for number, change in zip(new, drawn, strict=True)}
        with self.lock:
            self.kept |= found
            for oldest in list(self.kept)[:-MOST_KEPT]:
                del self.kept[oldest]
        return torch.stack([found[key] for key in keys])


class _Classifier(nn.Module):
    """Convolutions that halve the side, and a linear layer from the mean of the last maps to num_units numbers."""

    def __init__(self, channels: tuple[int, ...], image_shape: tuple[int, int, int], num_units: int):
        super().__init__()
        colours, side, _ = image_shape
        widths = (colours * HALF**2, *channels)
        self.shrink = nn.AvgPool2d(max(1, side // LARGEST_CLASSIFIED))
        layers: list[nn.Module] = [nn.PixelUnshuffle(HALF)]
        for number, (inputs, outputs) in enumerate(pairwise(widths)):
            layers += _convolved(inputs, outputs, stride=1 if number == 0 else 2)
            layers += _convolved(outputs, outputs) if 0 < number < len(channels) - 1 else []
        self.layers = nn.Sequential(*layers)
        self.to_y = nn.Linear(channels[-1], num_units)

    def forward(self, x: Float[Tensor, "b c s s"]) -> Float[Tensor, "b k"]:
        return self.to_y(self.layers(self.shrink(x)).mean(dim=(2, 3)))


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
