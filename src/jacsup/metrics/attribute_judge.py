"""The judge of edits: a classifier of attributes, trained on the real images of the same data set."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.atomic import write_atomically
from jacsup.code import UNIT, to_float
from jacsup.data.attributes import Attribute
from jacsup.data.cache import cache_folder, require_writable
from jacsup.data.dataset import Dataset, Split
from jacsup.data.draws import batch_order
from jacsup.progress import track

# Increased with every change to a judge's training, so that outdated judges in the cache are not used.
_VERSION = 4
# The side of a judge's input, its layers' channels, and the side of the map that its last layer reads.
_SIDE = 64
_CHANNELS = (32, 64, 128, 256)
_POOLED = 2
_SEED = 0
_BATCH = 64
_RATE = 3e-3
_DROPOUT = 0.3
# Images seen in training, independent of the size of the data set, within these bounds of epochs.
_IMAGES_SEEN = 120_000
_FEWEST_EPOCHS = 3
_MOST_EPOCHS = 20
_CHUNK = 500
# Images of a large set that its fingerprint is computed from.
_FINGERPRINTED = 20_000


@dataclass(frozen=True)
class AttributeJudge:
    """A classifier of all attributes of images with pixels in [0, 1], and its quality on the real test images.

    Attributes:
        network: Its outputs are above 0 if it sees an attribute (for a continuous one, a value above its mean).
        accuracy: The accuracy for each attribute; nan if all test images have it or none has.
        balanced_accuracy: The mean of the accuracies on images with and without each attribute.
        auc: The area under the ROC curve for each attribute.
    """

    network: nn.Module
    accuracy: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]
    auc: tuple[float, ...]

    @torch.no_grad()
    def __call__(self, pixels: Float[Tensor, "b c h w"]) -> Bool[Tensor, "b k"]:
        """Return which attributes each image has."""
        return self.network(pixels) > 0


def get_attribute_judge(data: Dataset) -> AttributeJudge | None:
    """Return the judge of a data set's attributes, trained once and kept in the user's cache.

    It is a small convolutional classifier of images averaged down to 64 pixels, trained from a fixed seed on the device
    of the attributes, so CPUs of the same kind give the same judge. For CelebA at 64 pixels, training takes about three
    minutes on one thread.

    Args:
        data: The data set.

    Returns:
        The judge, or None if the data have no attributes.
    """
    if not data.attributes:
        return None
    train, test = data.train, data.test
    assert train.attributes is not None and test.attributes is not None
    network = _network(data).to(train.attributes.device)
    path = cache_folder() / "judges" / f"{_fingerprint(data)}.safetensors"
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError):
        require_writable(path.parent)
        _fit(network, train, data.attributes)
        _calibrate(network.eval(), train)
        write_atomically(path, save({name: value.cpu() for name, value in network.state_dict().items()}))
    network = network.eval().requires_grad_(False)
    return AttributeJudge(network, *quality(_outputs(network, test), test.attributes))


def _fingerprint(data: Dataset) -> str:
    """A digest of the training set; for large sets, from some of the images."""
    images, labels = data.train.images, data.train.attributes
    assert labels is not None
    digest = hashlib.sha256(f"attribute judge {_VERSION} {tuple(images.shape)} {data.attributes}".encode())
    digest.update(images[:: math.ceil(len(images) / _FINGERPRINTED)].cpu().numpy().tobytes())
    digest.update(labels.cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def _network(data: Dataset) -> nn.Sequential:
    colours, side, _ = data.image_shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((colours, *_CHANNELS)):
            convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]
        return nn.Sequential(
            nn.AvgPool2d(max(1, side // _SIDE)),
            *layers,
            nn.AdaptiveAvgPool2d(_POOLED),
            nn.Flatten(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_POOLED**2 * _CHANNELS[-1], len(data.attributes)),
        )


def _fit(network: nn.Sequential, train: Split, attributes: Sequence[Attribute]) -> None:
    """Train with one-cycle Adam on shifted and mirrored images."""
    assert train.attributes is not None
    device = train.attributes.device
    continuous = torch.tensor([attribute.continuous for attribute in attributes], device=device)
    batch_size = min(_BATCH, len(train))
    epochs = min(max(_IMAGES_SEEN // len(train), _FEWEST_EPOCHS), _MOST_EPOCHS)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE, weight_decay=1e-5, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=epochs * (len(train) // batch_size))
    shrink, classify = network[0], network[1:]
    rng = np.random.default_rng(_SEED)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_SEED)
        for epoch in track(range(epochs), "training the judge of attributes, once"):
            for index in batch_order(len(train), batch_size, seed=_SEED, stage=0, epoch=epoch):
                x = _augmented(shrink(to_float(train.pixels(index, device), UNIT)), rng)
                loss = _loss(classify(x), train.attributes[index.to(device)], continuous)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()


def _augmented(x: Float[Tensor, "b c h w"], rng: np.random.Generator) -> Float[Tensor, "b c h w"]:
    """Images shifted by up to a twentieth of their side, half of them mirrored."""
    batch, (height, width) = len(x), x.shape[2:]
    most = height // 20
    padded = F.pad(x, [most] * 4, mode="replicate")
    down, right = torch.from_numpy(rng.integers(0, 2 * most + 1, (2, batch))).to(x.device)
    x = padded.unfold(2, height, 1).unfold(3, width, 1)[torch.arange(batch, device=x.device), :, down, right]
    mirrored = torch.from_numpy(rng.random(batch) < 0.5).to(x.device)
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _loss(outputs: Float[Tensor, "b k"], labels: Float[Tensor, "b k"], continuous: Bool[Tensor, " k"]) -> Tensor:
    """Mean over known labels of the binary cross-entropy, or of the squared error for continuous attributes."""
    known, labels = ~labels.isnan(), labels.nan_to_num()
    entropy = F.binary_cross_entropy_with_logits(outputs, (labels > 0).to(outputs), reduction="none")
    errors = torch.where(continuous, (outputs - labels).square(), entropy)
    return (errors * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def _calibrate(network: nn.Sequential, train: Split) -> None:
    """Shift the outputs so that 0 is each attribute's equal-error threshold on the training images.

    Otherwise a rare attribute's output would hardly ever be above 0, and adding it would be harder than removing it.
    """
    last, outputs, labels = network[-1], _outputs(network, train), train.attributes
    assert isinstance(last, nn.Linear) and labels is not None
    for factor, label in enumerate(labels.T):
        with_it, without = outputs[label > 0, factor], outputs[label <= 0, factor]
        if len(with_it) and len(without):
            last.bias[factor] -= equal_error_threshold(with_it, without)


def equal_error_threshold(with_it: Float[Tensor, " n"], without: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    """Return the threshold at which the shares of misses and of false positives are closest to equal.

    Args:
        with_it: Outputs for images with the attribute; those at or below the threshold are missed.
        without: Outputs for images without it; those above the threshold are false positives.
    """
    values = torch.cat([with_it, without]).unique()
    missed, rejected = (
        torch.searchsorted(group.sort().values, values, right=True) / len(group) for group in (with_it, without)
    )
    best = (missed - (1 - rejected)).abs().argmin()
    # The middle between two outputs.
    return values[best : best + 2].mean()


@torch.no_grad()
def _outputs(network: nn.Module, split: Split) -> Float[Tensor, "n k"]:
    assert split.attributes is not None
    parts = split.images.split(_CHUNK)
    return torch.cat([network(to_float(part.to(split.attributes.device), UNIT)) for part in parts])


def quality(
    outputs: Float[Tensor, "n k"], labels: Float[Tensor, "n k"]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Return accuracy, balanced accuracy and area under the ROC curve of each attribute; nan if a class is missing.

    Args:
        outputs: A judge's outputs, above 0 for an attribute that it sees.
        labels: The labels, above 0 for an attribute that an image has, nan for an unknown one.
    """
    columns = zip(outputs.cpu().T, labels.cpu().T, strict=True)
    accuracy, balanced, auc = zip(*(_quality(output, label) for output, label in columns), strict=True)
    return accuracy, balanced, auc


def _quality(output: Float[Tensor, " n"], label: Float[Tensor, " n"]) -> tuple[float, float, float]:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

    output, with_it = output[~label.isnan()], label[~label.isnan()] > 0
    if with_it.all() or not with_it.any():
        return math.nan, math.nan, math.nan
    verdicts = with_it.numpy(), (output > 0).numpy()
    return accuracy_score(*verdicts), balanced_accuracy_score(*verdicts), roc_auc_score(with_it.numpy(), output.numpy())
