"""The swap score (the poster's disentangling score) and its judge, an external classifier of classes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional as F

from jacsup.atomic import write_atomically
from jacsup.code import UNIT, Code, to_float, to_unit
from jacsup.data.cache import cache_folder, require_writable
from jacsup.data.dataset import Dataset, Split
from jacsup.data.draws import batch_order
from jacsup.metrics.images import CHUNK, chunk_size, encode_all
from jacsup.models import Autoencoder
from jacsup.progress import track

NUM_SWAPPED = 2
_SEED = 0
_EPOCHS = 15
_BATCH = 256


@dataclass(frozen=True)
class Judge:
    """A classifier of images with pixels in [0, 1], and its accuracy on the test split."""

    network: nn.Module
    accuracy: float

    @torch.no_grad()
    def __call__(self, pixels: Float[Tensor, "b c h w"]) -> Int64[Tensor, " b"]:
        """Return the class of each image.

        Args:
            pixels: Pixels in [0, 1], shape (b, c, h, w).
        """
        return self.network(pixels).argmax(dim=1)


def get_judge(data: Dataset) -> Judge | None:
    """Return the judge of a data set's classes, trained once and kept in the user's cache.

    Args:
        data: The data set.

    Returns:
        The judge, or None if the data have no class labels.
    """
    if data.train.labels is None or data.test.labels is None:
        return None
    network = _network(data.train)
    path = cache_folder() / "judges" / f"{_fingerprint(data.train)}.safetensors"
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError):
        require_writable(path.parent)
        _fit(network, data.train)
        write_atomically(path, save({name: value.cpu() for name, value in network.state_dict().items()}))
    network = network.eval().requires_grad_(False).to(data.train.images.device)
    return Judge(network, _accuracy(network, data.test))


def _fingerprint(split: Split) -> str:
    assert split.labels is not None
    digest = hashlib.sha256(f"judge 1 {tuple(split.images.shape)}".encode())
    digest.update(split.images.cpu().numpy().tobytes())
    digest.update(split.labels.cpu().numpy().tobytes())
    return digest.hexdigest()[:32]


def _network(split: Split) -> nn.Sequential:
    assert split.labels is not None
    inputs, classes = split.images[0].numel(), int(split.labels.max()) + 1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(inputs, 256),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(256, 256),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Linear(256, classes),
        )


def _fit(network: nn.Module, split: Split) -> None:
    """Train with Adam 1e-3, batch 256, 15 epochs, on the CPU so that every machine trains the same judge."""
    images, labels = split.images.cpu(), split.labels
    assert labels is not None
    labels = labels.cpu()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    batch_size = min(_BATCH, len(images))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        for epoch in track(range(_EPOCHS), "training the judge, once"):
            for index in batch_order(len(images), batch_size, seed=_SEED, stage=0, epoch=epoch):
                loss = F.cross_entropy(network(to_float(images[index], UNIT)), labels[index])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()


@torch.no_grad()
def _accuracy(network: nn.Module, split: Split) -> float:
    assert split.labels is not None
    hits = [
        (network(to_float(images, UNIT)).argmax(dim=1) == labels).sum()
        for images, labels in zip(split.images.split(CHUNK), split.labels.split(CHUNK), strict=True)
    ]
    return float(torch.stack(hits).sum()) / len(split)


@torch.no_grad()
def swap_scores(
    model: Autoencoder, split: Split, judge: Judge, swapped: Sequence[int] = range(NUM_SWAPPED)
) -> dict[str, float]:
    """Return the share of images that take on their partner's class when they get some of its units.

    It is measured over random pairs whose classes differ; 0 if none differ, as when all reconstructions look alike.

    Args:
        model: A model whose code was learned without labels.
        split: Images with class labels.
        judge: The judge of their classes.
        swapped: The units to swap. Defaults to the first two.

    Returns:
        `swap_classifier`, for which the partner's class is the judge's verdict on its reconstruction, and `swap_label`,
        for which it is the partner's true label. Both are in [0, 1]; higher is better.
    """
    assert split.labels is not None
    units = encode_all(model, split.images)
    partner = torch.randperm(len(units), generator=torch.Generator().manual_seed(0)).to(units.device)
    places = [place for place in swapped if place < units.shape[1]]
    mixed = units.clone()
    mixed[:, places] = units[partner][:, places]
    size = chunk_size(split.images)
    own_class, swapped_class = (_classes(model, judge, each.split(size)) for each in (units, mixed))
    return {
        "swap_classifier": _share(swapped_class, own_class[partner], own_class),
        "swap_label": _share(swapped_class, split.labels[partner], split.labels),
    }


def _classes(model: Autoencoder, judge: Judge, parts: Sequence[Tensor]) -> Tensor:
    pixels = (to_unit(model.decode(Code.of_units(part)), model.value_range) for part in parts)
    return torch.cat([judge(part) for part in pixels])


def _share(found: Tensor, wanted: Tensor, own: Tensor) -> float:
    differing = wanted != own
    return float((found == wanted)[differing].float().mean()) if differing.any() else 0.0
