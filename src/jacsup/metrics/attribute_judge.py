"""The judge of edits: a classifier of attributes, trained on the real images of the same data set."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.code import UNIT, to_float
from jacsup.data import cache_folder
from jacsup.data.dataset import Dataset, batch_order
from jacsup.progress import track
from jacsup.run import write_atomically

VERSION = 1
_SEED, _BATCH, _RATE = 0, 64, 3e-3
# Images seen in training, whatever the size of the set, within bounds for the epochs.
_IMAGE_STEPS, _FEWEST_EPOCHS, _MOST_EPOCHS = 120_000, 3, 30
_WIDTHS, _SIDE, _SHIFT = (3, 32, 64, 128, 256), 64, 3
_CHUNK = 500


@dataclass(frozen=True)
class AttributeJudge:
    """A classifier of all attributes of images with pixels in [0, 1], and how good it is on the real test images.

    thresholds: logits above them count as "with"; they make the judge see each attribute as often as the training
    labels do. accuracy, balanced_accuracy, auc: of each attribute; nan where the test images have one class alone.
    """

    network: nn.Module
    thresholds: Float[Tensor, " k"]
    accuracy: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]
    auc: tuple[float, ...]

    @torch.no_grad()
    def __call__(self, pixels: Float[Tensor, "b c h w"]) -> Bool[Tensor, "b k"]:
        """Which attributes each image has."""
        return self.network(_small(pixels)) > self.thresholds


def get_attribute_judge(data: Dataset) -> AttributeJudge | None:
    """The judge of a data set's attributes, trained once and kept in the user's cache; None where there are none."""
    if not data.attributes:
        return None
    assert data.train.attributes is not None and data.test.attributes is not None
    device = data.train.attributes.device
    network = _network(len(data.attributes), data.image_shape[0])
    thresholds = torch.zeros(len(data.attributes))
    path = cache_folder() / "judges" / f"{_fingerprint(data)}.safetensors"
    try:
        state = load_file(path)
        thresholds = state.pop("thresholds")
        network.load_state_dict(state)
        network.to(device)
    except (FileNotFoundError, SafetensorError):
        network.to(device)
        _fit(network, data)
        thresholds = _thresholds(_logits(network.eval(), data.train.images, device), data.train.attributes).cpu()
        state = {name: value.cpu().contiguous() for name, value in network.state_dict().items()}
        write_atomically(path, save({**state, "thresholds": thresholds}))
    network = network.eval().requires_grad_(False)
    thresholds = thresholds.to(device)
    logits = _logits(network, data.test.images, device)
    return AttributeJudge(network, thresholds, *_quality(logits - thresholds, data.test.attributes))


def _fingerprint(data: Dataset) -> str:
    """A digest of the training set; of large ones some images stand for all."""
    images, labels = data.train.images, data.train.attributes
    assert labels is not None
    digest = hashlib.sha256(f"attribute judge {VERSION} {tuple(images.shape)} {data.attributes}".encode())
    step = max(1, len(images) // 10_000)
    digest.update(images[::step].cpu().contiguous().numpy().tobytes())
    digest.update(labels.cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def _network(num_attributes: int, colours: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((colours, *_WIDTHS[1:])):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        return nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * _WIDTHS[-1], num_attributes)
        )


def _small(pixels: Tensor) -> Tensor:
    """Images above 64 pixels, averaged down: that is what the judge looks at."""
    factor = pixels.shape[-1] // _SIDE
    return F.avg_pool2d(pixels, factor) if factor > 1 else pixels


def _fit(network: nn.Module, data: Dataset) -> None:
    """Binary cross-entropy (squared error for numbers) on flipped and shifted images, one-cycle Adam."""
    images, labels = data.train.images, data.train.attributes
    assert labels is not None
    continuous = torch.tensor([attribute.continuous for attribute in data.attributes], device=labels.device)
    batch_size = min(_BATCH, len(images))
    epochs = min(max(round(_IMAGE_STEPS / len(images)), _FEWEST_EPOCHS), _MOST_EPOCHS)
    steps = epochs * (len(images) // batch_size)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE, weight_decay=1e-5, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    rng = np.random.default_rng(_SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        for epoch in track(range(epochs), "training the judge of attributes, once"):
            for index in batch_order(len(images), batch_size, seed=_SEED, stage=0, epoch=epoch):
                pixels = data.train.pixels(index, labels.device)
                x = _augmented(_small(to_float(pixels, UNIT)), rng)
                loss = _loss(network(x), labels[index.to(labels.device)], continuous)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()


def _augmented(x: Tensor, rng: np.random.Generator) -> Tensor:
    """The batch shifted by up to 3 pixels, one half of it mirrored."""
    down, right = rng.integers(-_SHIFT, _SHIFT + 1, 2).tolist()
    padded = F.pad(x, [_SHIFT] * 4, mode="replicate")
    side = x.shape[-1]
    x = padded[:, :, _SHIFT + down :, _SHIFT + right :][:, :, :side, :side]
    mirrored = torch.from_numpy(rng.random(len(x)) < 0.5).to(x.device)
    return torch.where(mirrored[:, None, None, None], x.flip(3), x)


def _loss(logits: Tensor, labels: Tensor, continuous: Tensor) -> Tensor:
    known, target = ~labels.isnan(), labels.nan_to_num()
    binary = F.binary_cross_entropy_with_logits(logits, (target > 0).float(), reduction="none")
    errors = torch.where(continuous, (logits - target).square(), binary)
    return (errors * known).sum() / known.sum().clamp(min=1)


@torch.no_grad()
def _logits(network: nn.Module, images: UInt8[Tensor, "n c h w"], device: torch.device) -> Float[Tensor, "n k"]:
    return torch.cat([network(_small(to_float(part.to(device), UNIT))) for part in images.split(_CHUNK)])


def _thresholds(logits: Float[Tensor, "n k"], labels: Float[Tensor, "n k"]) -> Float[Tensor, " k"]:
    """The logits above which as many training images lie as have the attribute."""
    share = ((labels > 0).sum(dim=0) / (~labels.isnan()).sum(dim=0).clamp(min=1)).tolist()
    ordered = logits.sort(dim=0, descending=True).values
    return torch.stack([ordered[min(round(part * len(logits)), len(logits) - 1), i] for i, part in enumerate(share)])


def _quality(
    margins: Float[Tensor, "n k"], labels: Float[Tensor, "n k"]
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """Accuracy, balanced accuracy and area under the ROC curve of each attribute."""
    rows = [
        _quality_of(margin[~label.isnan()], label[~label.isnan()] > 0)
        for margin, label in zip(margins.T, labels.T, strict=True)
    ]
    accuracy, balanced, auc = zip(*rows, strict=True)
    return accuracy, balanced, auc


def _quality_of(margin: Tensor, label: Tensor) -> tuple[float, float, float]:
    from scipy.stats import rankdata

    with_it, without = int(label.sum()), int((~label).sum())
    if not with_it or not without:
        return (float("nan"),) * 3
    right = (margin > 0) == label
    ranks = rankdata(margin.cpu().double().numpy())[label.cpu().numpy()]
    auc = (float(ranks.sum()) - with_it * (with_it + 1) / 2) / (with_it * without)
    balanced = (right[label].float().mean() + right[~label].float().mean()) / 2
    return float(right.float().mean()), float(balanced), auc
