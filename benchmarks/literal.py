"""The method as the paper writes it, programmed in the obvious way: the reference for every claim of speed.

Images come one by one from a DataLoader, the teacher encodes and decodes twice per step, attributes are concatenated as
maps, autograd and Adam are torch's defaults. Nothing here is slow on purpose. A test checks that its losses and
gradients equal those of our own step.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from jacsup.config import Adam, LossOptions, Weights
from jacsup.models import Model
from jacsup.models.conv import ConvAutoencoder, Up
from jacsup.models.mlp import MLPAutoencoder


class LiteralMLP(nn.Module):
    """A.1 with nn.Linear and the weights of a model of ours."""

    def __init__(self, model: MLPAutoencoder):
        super().__init__()
        self.encoder, self.decoder = (_plain_layers(part) for part in (model.encoder, model.decoder))
        self.image_shape = model.image_shape

    def encode(self, x: Tensor, num_factors: int) -> tuple[Tensor, Tensor]:
        units = self.encoder(x.flatten(1))
        return units[:, :num_factors], units[:, num_factors:]

    def decode(self, y: Tensor, z: Tensor) -> Tensor:
        return self.decoder(torch.cat([y, z], dim=1)).unflatten(1, self.image_shape)


def _plain_layers(layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*(_plain(layer) for layer in layers.children()))


def _plain(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.Linear):
        plain = nn.Linear(layer.in_features, layer.out_features)
    elif isinstance(layer, nn.Conv2d):
        sizes = layer.in_channels, layer.out_channels
        plain = nn.Conv2d(*sizes, kernel_size=4, stride=2, padding=1, bias=layer.bias is not None)
    else:
        return layer
    plain.load_state_dict(layer.state_dict())
    return plain


class LiteralConv(nn.Module):
    """A.2 with the weights of a model of ours; each decoder layer concatenates y as constant maps."""

    def __init__(self, model: ConvAutoencoder):
        super().__init__()
        ours, decoder = model.encoder, model.decoder
        self.encoder = nn.Sequential(_plain_layers(ours.layers), _plain(ours.to_code), ours.code_block)
        self.map_shape = model.z_channels, decoder.map_side, decoder.map_side
        self.norms = decoder.norms
        ups = [layer for layer in decoder.modules() if isinstance(layer, Up)]
        self.layers = nn.ModuleList(_concatenating(layer) for layer in ups)
        self.sees_y = [layer.y_weight is not None for layer in ups]

    def encode(self, x: Tensor, num_factors: int) -> tuple[Tensor, Tensor]:
        maps = self.encoder(x)
        return maps[:, :num_factors].mean(dim=(2, 3)), maps[:, num_factors:].flatten(1)

    def decode(self, y: Tensor, z: Tensor) -> Tensor:
        features = z.unflatten(1, self.map_shape)
        for layer, sees_y, norm in zip(self.layers, self.sees_y, [*self.norms, None], strict=True):
            if sees_y:
                maps = y[:, :, None, None].expand(-1, -1, *features.shape[2:])
                features = torch.cat([features, maps], dim=1)
            features = layer(features)
            features = F.relu(norm(features)) if norm else torch.tanh(features)
        return features


def _concatenating(layer: Up) -> nn.ConvTranspose2d:
    weights = layer.state_dict()
    weights["weight"] = torch.cat([weights["weight"], *([weights.pop("y_weight")] if "y_weight" in weights else [])])
    inputs, outputs = weights["weight"].shape[:2]
    plain = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=layer.bias is not None)
    plain.load_state_dict(weights)
    return plain


Literal = LiteralMLP | LiteralConv


def literal(model: Model) -> Literal:
    """A copy of an autoencoder, with its weights, in plain layers."""
    model = deepcopy(model)
    if isinstance(model, MLPAutoencoder):
        return LiteralMLP(model).train(model.training)
    assert isinstance(model, ConvAutoencoder)
    return LiteralConv(model).train(model.training)


def student_loss(
    student: Literal,
    teacher: Literal,
    x: Tensor,
    num_factors: int,
    weights: Weights,
    options: LossOptions = LossOptions(),
) -> Tensor:
    """Eq. 8, 9 and 10 of a batch whose partners are its neighbours."""
    with torch.no_grad():
        teacher_y, teacher_z = teacher.encode(x, num_factors)
        teacher_x_hat = teacher.decode(teacher_y, teacher_z)
        teacher_x_hat_swapped = teacher.decode(teacher_y.roll(1, 0), teacher_z)
    y, z = student.encode(x, num_factors)
    # One batch, so that both share their statistics.
    x_hat, x_hat_swapped = student.decode(torch.cat([y, y.roll(1, 0)]), torch.cat([z, z])).chunk(2)
    change, teacher_change = x_hat_swapped - x_hat, teacher_x_hat_swapped - teacher_x_hat
    loss = weights.rec * F.mse_loss(x_hat, x) + weights.jacobian * F.mse_loss(change, teacher_change)
    loss = loss + weights.y * F.mse_loss(y, teacher_y)
    if weights.xcov:
        covariance = (z - z.mean(0)).T @ (y - y.mean(0)) / len(x)
        squares = covariance.square().sum()
        loss = loss + weights.xcov * (squares.sqrt() if options.xcov_norm else squares)
    return loss


def student_step(
    student: Literal, teacher: Literal, optimizer: torch.optim.Optimizer, x: Tensor, num_factors: int, weights: Weights
) -> None:
    optimizer.zero_grad()
    student_loss(student, teacher, x, num_factors, weights).backward()
    optimizer.step()


def make_optimizer(student: Literal, adam: Adam) -> torch.optim.Optimizer:
    return torch.optim.Adam(student.parameters(), lr=adam.lr, betas=adam.betas, weight_decay=adam.weight_decay)


class Items(Dataset[Tensor]):
    """uint8 images as floats in the model's value range, one at a time."""

    def __init__(self, images: Tensor, value_range: tuple[float, float]):
        self.images, (self.low, self.high) = images, value_range

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.images[index] / 255 * (self.high - self.low) + self.low


def loaded(images: Tensor, value_range: tuple[float, float], batch_size: int) -> Iterator[Tensor]:
    """The batches of an epoch, converted image by image."""
    yield from DataLoader(Items(images, value_range), batch_size, shuffle=True, drop_last=True, num_workers=0)


def in_memory(images: Tensor, value_range: tuple[float, float], batch_size: int) -> Iterator[Tensor]:
    """The batches of an epoch, each gathered from memory and converted at once."""
    low, high = value_range
    for index in torch.randperm(len(images)).split(batch_size)[: len(images) // batch_size]:
        yield images[index] / 255 * (high - low) + low
